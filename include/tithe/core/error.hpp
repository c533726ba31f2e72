// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <cstddef>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

/// Every exception that the library throws. Each says who complains, what is required, what was found, and how to
/// fix it; where the cause is in a file, also file, line, column and field.
namespace tithe {

/// A place in a file. Lines and columns count from 1; 0 means that there is none to name.
struct Location {
  std::string file{};
  std::size_t line = 0;
  std::size_t column = 0;
  /// A JSON field, a tensor, a configuration key: the part of the file that is meant.
  std::string field{};
};

/// The four parts of a message, each a clause without a final full stop.
struct Complaint {
  std::string who;       ///< the public function or type that refuses: "read_jsonl"
  std::string required;  ///< what it needs: "a string in every \"prompt\""
  std::string found;     ///< what is there instead: "a number"
  std::string fix;       ///< what to do about it: "quote it"
};

/// The common base: catch this to catch everything of ours.
class Error : public std::runtime_error {
 public:
  explicit Error(Complaint complaint, Location where = {})
      : std::runtime_error{message(complaint, where)},
        complaint_{std::move(complaint)},
        where_{std::move(where)} {}

  [[nodiscard]] const Complaint& complaint() const noexcept { return complaint_; }
  [[nodiscard]] const Location& where() const noexcept { return where_; }

 private:
  static std::string message(const Complaint& complaint, const Location& where) {
    std::string text;
    if (!where.file.empty()) {
      text += where.file;
      if (where.line != 0) text += ':' + std::to_string(where.line);
      if (where.column != 0) text += ':' + std::to_string(where.column);
      text += ": ";
    }
    if (!where.field.empty()) text += where.field + ": ";
    text += complaint.who + " needs " + complaint.required + ", but found " + complaint.found + '.';
    if (!complaint.fix.empty()) text += ' ' + complaint.fix + '.';
    return text;
  }

  Complaint complaint_;
  Location where_;
};

/// A budget, a price or a plan that cannot be: negative amounts, more labels than there are.
struct BudgetError : Error {
  using Error::Error;
};

/// An annotated example that cannot be read or does not fit the model.
struct DataError : Error {
  using Error::Error;
};

/// A model's file (configuration, weights, tokenizer) that is malformed, missing or not supported.
struct ModelFileError : Error {
  using Error::Error;
};

/// A run's checkpoint that is torn, stale, or belongs to another run.
struct CheckpointError : Error {
  using Error::Error;
};

/// Cached log-probabilities that are torn, altered, or belong to another model or other rows.
struct CacheError : Error {
  using Error::Error;
};

/// An option outside its range, or options that contradict each other.
struct OptionError : Error {
  using Error::Error;
};

/// A tensor with a shape, dtype or range that an operation cannot take.
struct ShapeError : Error {
  using Error::Error;
};

/// A derivative that the library's own operators do not have.
struct GradientError : Error {
  using Error::Error;
  /// Their backward passes are by hand, and cannot be differentiated again; a result would silently lack terms.
  static GradientError second_derivative(std::string who) {
    return GradientError{
        {.who = std::move(who),
         .required = "a backward pass without create_graph",
         .found = "one that asks for second derivatives",
         .fix = "Differentiate once, or take the model through PaddedModel and operators of LibTorch"}};
  }
};

/// A file that cannot be opened, written or made durable.
struct FileError : Error {
  using Error::Error;
};

/// A study's records that are malformed, of another version or contradict each other, or a study that cannot go on.
struct StudyError : Error {
  using Error::Error;
};

/// A judge of answers that cannot be started, dies, falls silent, or says what is no verdict.
struct JudgeError : Error {
  using Error::Error;
};

/// A loss or a gradient that is NaN or infinite. Thrown before the optimizer touches a weight.
struct NonFiniteError : Error {
  NonFiniteError(Complaint complaint, std::vector<std::string> rows_found)
      : Error{std::move(complaint)}, rows{std::move(rows_found)} {}
  /// The ids of the examples whose loss is not finite, or of the whole batch if only a gradient is.
  std::vector<std::string> rows;
};

}  // namespace tithe
