// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
//
// The library's side of python_tokenizer.py: `tokenizer_peer TOKENIZER_JSON TEXTS_JSON` reads a tokenizer and a list of
// texts, and answers each line on standard input with the processor time of encoding every text, one after another. The
// first answer has the ids.
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "process.hpp"
#include "tithe/model/tokenizer.hpp"

namespace {

using nlohmann::json;

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::cerr << "usage: tokenizer_peer TOKENIZER_JSON TEXTS_JSON\n";
    return 2;
  }
  const double start = bench::processor_seconds();
  const auto tokenizer = tithe::Tokenizer::from_file(argv[1]);
  const double load = bench::processor_seconds() - start;
  const auto texts = json::parse(std::ifstream{argv[2]}).get<std::vector<std::string>>();
  const auto encode = [&](const std::string& text) {
    return tokenizer.encode(text, tithe::SpecialTokens::none, tithe::SpelledTokens::recognize);
  };
  json ids = json::array();
  for (const std::string& text : texts) ids.push_back(encode(text));
  std::cout << json{{"load", load}, {"ids", ids}} << std::endl;
  for (std::string line; std::getline(std::cin, line);) {
    const double begin = bench::processor_seconds();
    std::size_t tokens = 0;
    for (const std::string& text : texts) tokens += encode(text).size();
    std::cout << json{{"cpu", bench::processor_seconds() - begin}, {"tokens", tokens}} << std::endl;
  }
}
