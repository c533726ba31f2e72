// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include <filesystem>
#include <iostream>
#include <memory>
#include <string>
#include <system_error>

#include "commands.hpp"
#include "json_lines.hpp"
#include "loading.hpp"
#include "model_flags.hpp"
#include "output.hpp"
#include "session.hpp"
#include "tithe/model/pretrained.hpp"
#include "torch_setup.hpp"

namespace program {
namespace {

struct Settings {
  ModelSettings model{.folder = {}, .adapter = {}, .dtype = "auto"};
  std::filesystem::path out;
  int threads = 0;
};

constexpr const char* footer =
    R"(W + s·B·A is added in float32, whatever the files' dtype, and rounded once, to --dtype. The new folder is a whole
model that this program, transformers and vLLM load: the tokenizer's files and generation_config.json are those of the
model, byte for byte. It gets its name when all of it is written, so that what is there is whole.

Example
  $ tithe merge --model qwen2.5-0.5b --adapter run/adapter --out merged)";

/// A folder beside the one that is to be, which goes if it does not get its name.
class NewFolder {
 public:
  explicit NewFolder(const std::filesystem::path& path) : path_{path.lexically_normal()} {
    std::error_code error;
    if (!path_.has_filename()) path_ = path_.parent_path();  // of "merged/"
    if (std::filesystem::exists(std::filesystem::symlink_status(path_, error))) {
      throw UsageError{path_.string() + " is there already; give --out the name of a new folder"};
    }
    unfinished_ = path_;
    unfinished_ += ".unfinished";
    std::filesystem::remove_all(unfinished_, error);  // of a run that was killed
    if (!std::filesystem::create_directories(unfinished_, error) && error) fail("make the folder", error);
  }
  NewFolder(const NewFolder&) = delete;
  NewFolder& operator=(const NewFolder&) = delete;
  ~NewFolder() {
    std::error_code ignored;
    if (!unfinished_.empty()) std::filesystem::remove_all(unfinished_, ignored);
  }
  [[nodiscard]] const std::filesystem::path& path() const { return unfinished_; }
  void finish() {
    std::error_code error;
    std::filesystem::rename(unfinished_, path_, error);
    if (error) fail("rename the folder", error);
    unfinished_.clear();
  }

 private:
  [[noreturn]] void fail(const char* what, const std::error_code& error) const {
    throw tithe::FileError{{"tithe merge", std::string{"to "} + what, error.message(), {}},
                           {.file = path_.string()}};
  }
  std::filesystem::path path_;
  std::filesystem::path unfinished_{};
};

int merge(const Settings& settings) {
  set_up_torch(settings.threads);
  NewFolder folder{settings.out};  // before minutes of reading
  ModelSettings loaded = settings.model;
  // A sum in the files' own dtype is rounded once; in another one it would be rounded before and after.
  if (loaded.dtype != "auto") loaded.dtype = "float32";
  tithe::Pretrained pretrained = load(loaded);
  pretrained.model.merge_adapter();
  tithe::save_pretrained(folder.path(), pretrained, {.dtype = dtype_of(settings.model.dtype)});
  folder.finish();
  const OutputJson done{{"model", settings.out.string()}};
  std::cout << done.dump(-1, ' ', false, OutputJson::error_handler_t::replace) << '\n';
  require_printed();
  return success;
}

}  // namespace

Command add_merge(CLI::App& app) {
  const auto settings = std::make_shared<Settings>();
  CLI::App* command = app.add_subcommand("merge", "Add an adapter to a model's weights");
  command->footer(footer);
  command->add_option("--model", settings->model.folder, "Folder of the model")->type_name("DIR")->required();
  add_adapter_flag(*command, settings->model, "Folder of the adapter, in PEFT's files");
  command->get_option("--adapter")->required();
  command->add_option("--out", settings->out, "Folder to write, which must not be there")
      ->type_name("DIR")
      ->required();
  command
      ->add_option(
          "--dtype", settings->model.dtype,
          "In which weights are written: auto for that of the model's files, float32, bfloat16 or float16")
      ->check(CLI::IsMember({"auto", "float32", "bfloat16", "float16"}))
      ->capture_default_str();
  add_threads_flag(*command, settings->threads);
  return {command, [settings](const Session&) { return merge(*settings); }};
}

}  // namespace program
