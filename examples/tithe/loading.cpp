// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include "loading.hpp"

#include <exception>
#include <optional>
#include <string>
#include <utility>

#include "tithe/core/error.hpp"
#include "tithe/model/chat_encoder.hpp"
#include "tithe/model/chat_format.hpp"
#include "tithe/model/chat_template.hpp"

namespace program {
namespace {

constexpr const char* choose =
    "Give --chat-format chatml, llama3 or llama3.1, as the model was or is to be trained";

std::optional<tithe::ChatFormat> format_named(const std::optional<std::string>& name) {
  if (!name) return std::nullopt;
  if (*name == "llama3") return tithe::llama3_chat();
  return *name == "llama3.1" ? tithe::llama3_1_chat() : tithe::chat_ml();
}

/// The format of a folder's template. Throws ModelFileError for one that is none of ours, and where there is none.
tithe::ChatFormat format_in(const std::filesystem::path& folder) {
  const auto found = tithe::find_chat_template(folder);
  if (!found) {
    throw tithe::ModelFileError{{"tithe", "a chat template for messages", "none", choose},
                                {.file = folder.string()}};
  }
  try {
    return tithe::recognize_chat_template(*found);
  } catch (const tithe::ModelFileError& error) {
    tithe::Complaint complaint = error.complaint();
    complaint.fix = choose;
    throw tithe::ModelFileError{std::move(complaint), error.where()};
  }
}

}  // namespace

std::optional<at::ScalarType> dtype_of(const std::string& name) {
  if (name == "auto") return std::nullopt;
  return name == "bfloat16" ? at::kBFloat16 : name == "float16" ? at::kHalf : at::kFloat;
}

std::string name_of(at::ScalarType dtype) {
  return dtype == at::kBFloat16 ? "bfloat16" : dtype == at::kHalf ? "float16" : "float32";
}

tithe::PretrainedOptions options_of(const ModelSettings& settings) {
  return {
      .dtype = dtype_of(settings.dtype), .device = at::Device{settings.device}, .adapter = settings.adapter};
}

tithe::Pretrained load(const ModelSettings& settings) {
  return tithe::load_pretrained(settings.folder, options_of(settings));
}

tithe::ChatEncoder chat_of(const ModelSettings& settings, const tithe::Tokenizer& tokenizer,
                           tithe::SpelledTokens spelled) {
  try {
    std::optional<tithe::ChatFormat> format = format_named(settings.chat_format);
    if (!format) format = format_in(settings.folder);
    return tithe::chat_encoder(*std::move(format), tokenizer, spelled);
  } catch (const tithe::Error&) {  // whoever has no conversations needs no format
    return [reason = std::current_exception()](auto&&...) -> tithe::RenderedChat {
      std::rethrow_exception(reason);
    };
  }
}

tithe::Encoding encoding_of(const tithe::DecoderConfig& config, const tithe::Tokenizer& tokenizer,
                            const ModelSettings& settings) {
  tithe::require_vocabulary(tokenizer, config, settings.folder / "tokenizer.json", "tithe");
  return tithe::encoding_of(config, tokenizer, chat_of(settings, tokenizer));
}

tithe::Encoding encoding_of(const tithe::Pretrained& pretrained, const ModelSettings& settings) {
  return encoding_of(pretrained.model.config(), pretrained.tokenizer, settings);
}

}  // namespace program
