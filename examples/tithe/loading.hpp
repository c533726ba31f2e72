// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <c10/core/ScalarType.h>

#include <filesystem>
#include <optional>
#include <string>

#include "model_flags.hpp"
#include "tithe/data/chat.hpp"
#include "tithe/data/encoding.hpp"
#include "tithe/model/pretrained.hpp"
#include "tithe/model/tokenizer.hpp"

/// Models as the flags say.
namespace program {

/// The dtype that a flag names; nothing for "auto".
std::optional<at::ScalarType> dtype_of(const std::string& name);

/// What a flag calls a dtype.
std::string name_of(at::ScalarType dtype);

/// The library's options for the settings; training adds to them.
tithe::PretrainedOptions options_of(const ModelSettings& settings);

/// Reads the model, its tokenizer and its adapter. Throws what `load_pretrained` does.
tithe::Pretrained load(const ModelSettings& settings);

/// The chat format that is asked for, or else the folder's own. It never is empty: where a folder says none, the first
/// conversation is an error that names the flag.
tithe::ChatEncoder chat_of(const ModelSettings& settings, const tithe::Tokenizer& tokenizer,
                           tithe::SpelledTokens spelled = tithe::SpelledTokens::keep_as_text);

/// How text and conversations become rows for a model, whose weights need not be there. Throws ModelFileError for a
/// tokenizer that has more tokens than the model.
tithe::Encoding encoding_of(const tithe::DecoderConfig& config, const tithe::Tokenizer& tokenizer,
                            const ModelSettings& settings);
tithe::Encoding encoding_of(const tithe::Pretrained& pretrained, const ModelSettings& settings);

}  // namespace program
