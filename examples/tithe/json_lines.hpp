// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <cstddef>
#include <cstdint>
#include <exception>
#include <filesystem>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "session.hpp"
#include "tithe/core/error.hpp"
#include "tithe/core/example.hpp"
#include "tithe/data/json.hpp"
#include "tithe/data/json_object.hpp"

/// JSON lines in, JSON lines out: from files or standard input to files or standard output, in order, with
/// memory bounded by the longest line that is taken.
namespace program {

using OutputJson = nlohmann::ordered_json;

/// In bytes. More than any model's context, and little enough to hold.
inline constexpr std::size_t longest_line = std::size_t{64} << 20;

/// Where lines come from and go to, and what happens to a bad one.
struct LineOptions {
  std::filesystem::path input{"-"};   ///< "-": standard input
  std::filesystem::path output{"-"};  ///< "-": standard output
  bool keep_going = false;
};

/// An object and where it stands.
struct InputLine {
  tithe::Json json;
  tithe::Location where;
  /// Its place among the lines that are not blank, good and bad ones, from 0.
  std::uint64_t index = 0;

  [[nodiscard]] tithe::JsonObject<tithe::DataError> object(const std::string& who) const {
    return {json, where, who};
  }
};

/// Text or messages under a field's name, or ids under that name with `_ids` behind; exactly one of the two.
tithe::Content read_content(const tithe::JsonObject<tithe::DataError>& object, const std::string& field);

/// A conversation, [{"role", "content"}, …], of at least one message.
tithe::Messages read_messages(const tithe::JsonObject<tithe::DataError>& object, const std::string& field);

/// Throws DataError for ids that a model does not have.
void require_ids(const tithe::TokenIds& ids, std::int64_t vocabulary_size, const std::string& field,
                 const tithe::Location& where, const std::string& who);

/// Calls `use()`; what it complains of without a place gets that of the line.
template <class Use>
auto at_place_of(const InputLine& line, const Use& use) {
  try {
    return use();
  } catch (const tithe::DataError& error) {
    if (!error.where().file.empty()) throw;
    throw tithe::DataError{error.complaint(), line.where};
  }
}

/// Reads lines as they come.
class LineReader {
 public:
  LineReader(const std::filesystem::path& path, const Session& session);
  LineReader(const LineReader&) = delete;
  LineReader& operator=(const LineReader&) = delete;
  ~LineReader();

  /// The next line that is not blank, or nothing at the end or once the program is interrupted. Throws
  /// DataError for one that is no JSON object or too long; the reader then stands behind it.
  [[nodiscard]] std::optional<InputLine> next(const std::string& who);
  /// Whether `next` has an answer without waiting. A program that asks, and waits for each answer, is not
  /// kept waiting.
  [[nodiscard]] bool ready();
  /// Whether everything was given and no more can come, as far as that is known without waiting.
  [[nodiscard]] bool at_end();
  /// How much of the input is read, in [0, 1]; negative where nobody can know.
  [[nodiscard]] double fraction() const;

 private:
  /// Reads more. False at the end, and when interrupted; without `wait`, also if there is nothing to be had
  /// now.
  bool fill(bool wait);
  void read_piece();
  /// Whether the buffer begins with all of a line, or with too much of one; sets `scanned_` to its end.
  [[nodiscard]] bool has_line();
  [[nodiscard]] std::optional<std::string> next_text(const std::string& who);

  Session session_;
  std::string name_;
  int descriptor_ = 0;
  bool at_end_ = false;
  std::string buffer_;
  std::size_t begin_ = 0;    // of the next line
  std::size_t scanned_ = 0;  // no line end stands between begin_ and here
  bool skips_ = false;       // up to the line's end: it was too long
  std::size_t line_ = 0;
  std::uint64_t index_ = 0;
  double read_ = 0;  // bytes
  double size_ = 0;  // bytes; 0 if unknown
};

/// Writes each line at once and whole.
class LineWriter {
 public:
  explicit LineWriter(const std::filesystem::path& path);
  LineWriter(const LineWriter&) = delete;
  LineWriter& operator=(const LineWriter&) = delete;
  ~LineWriter();

  /// Throws FileError if it cannot be written, as on a full disk.
  void write(const OutputJson& json);

 private:
  std::string name_;
  int descriptor_ = 1;
};

/// How a command answers lines. `Item` is what it makes of one.
template <class Item>
struct LineCommand {
  std::string who;  ///< the command's name, for messages
  /// Reads a line. Throws tithe::Error for one that it cannot take.
  std::function<Item(const InputLine&)> read;
  /// What an item adds to a batch, in the unit of `batch_size`.
  std::function<std::size_t(const Item&)> size;
  /// An answer for each item.
  std::function<std::vector<OutputJson>(const std::vector<Item>&)> answer;
  std::size_t batch_size = 1;
  std::size_t batch_lines = 256;
};

/// One batch of lines: what was read, and for lines that could not be, why.
struct LineBatch {
  struct Slot {
    tithe::Json id;  ///< copied to the answer; null if there is none
    std::optional<std::string> error{};
  };
  std::vector<Slot> slots{};
};

/// What is told when lines are done.
class LineProgress {
 public:
  LineProgress(std::string who, const LineOptions& options);
  ~LineProgress();
  void done(std::size_t lines, double fraction);
  void complain(const std::string& text);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Throws UsageError if the output would overwrite the input.
void require_apart(const LineOptions& options);

/// Answers every line, in order. What stands before a bad line is answered before the complaint is thrown;
/// with `keep_going` the complaint takes the answer's place. Returns the exit code.
template <class Item>
int answer_lines(const LineCommand<Item>& command, const LineOptions& options, const Session& session) {
  require_apart(options);
  LineReader reader{options.input, session};
  LineWriter writer{options.output};
  LineProgress progress{command.who, options};
  bool any_failed = false;
  bool all_answered = true;
  bool more = true;
  while (more && !session.stop.stop_requested()) {
    LineBatch batch;
    std::vector<Item> items;
    std::size_t size = 0;
    std::exception_ptr stopped_by;
    // The first line of a batch is waited for; after it, only what is there already joins.
    while (size < command.batch_size && batch.slots.size() < command.batch_lines &&
           (batch.slots.empty() || reader.ready())) {
      tithe::Json id;
      try {
        const std::optional<InputLine> line = reader.next(command.who);
        more = line.has_value();
        if (!more) break;
        if (const auto found = line->json.find("id"); found != line->json.end()) id = *found;
        items.push_back(command.read(*line));
        size += command.size(items.back());
        batch.slots.push_back({id});
      } catch (const tithe::DataError& error) {
        if (!options.keep_going) {
          stopped_by = std::current_exception();
          break;
        }
        any_failed = true;
        progress.complain(error.what());
        batch.slots.push_back({id, error.what()});
      }
    }
    const std::vector<OutputJson> answers = items.empty() ? std::vector<OutputJson>{} : command.answer(items);
    if (session.stop.stop_requested()) {  // what was not finished is not answered
      all_answered = batch.slots.empty() && !stopped_by;
      break;
    }
    std::size_t place = 0;
    for (const LineBatch::Slot& slot : batch.slots) {
      OutputJson line = OutputJson::object();
      if (!slot.id.is_null()) line["id"] = slot.id;
      if (slot.error) {
        line["error"] = *slot.error;
      } else {
        line.update(answers[place++]);
      }
      writer.write(line);
    }
    progress.done(batch.slots.size(), reader.fraction());
    if (stopped_by) std::rethrow_exception(stopped_by);
  }
  if (session.stop.stop_requested() && !(all_answered && reader.at_end())) return interrupted;
  return any_failed ? failure : success;
}

}  // namespace program
