// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
//
// What reading a stranger's file costs, whether it is accepted or refused. This file counts the program's allocations.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <new>
#include <string>
#include <string_view>
#include <vector>

#include "temporary_folder.hpp"
#include "test.hpp"
#include "tithe/core/error.hpp"
#include "tithe/model/config_file.hpp"
#include "tithe/model/safetensors_header.hpp"
#include "tithe/model/weight_index.hpp"

namespace {

/// Bytes asked for on this thread and not given back, while somebody counts; each block keeps its size in front.
struct Counter {
  bool on = false;
  std::size_t held = 0;
  std::size_t peak = 0;
};
thread_local Counter counter;
constexpr std::size_t front = alignof(std::max_align_t);

void* take(std::size_t size) {
  auto* block = static_cast<std::byte*>(std::malloc(size + front));
  if (block == nullptr) throw std::bad_alloc{};
  ::new (block) std::size_t{counter.on ? size : 0};
  if (counter.on) counter.peak = std::max(counter.peak, counter.held += size);
  return block + front;
}
void give_back(void* pointer) noexcept {
  if (pointer == nullptr) return;
  auto* block = static_cast<std::byte*>(pointer) - front;
  if (counter.on) counter.held -= std::min(counter.held, *reinterpret_cast<std::size_t*>(block));
  std::free(block);
}

}  // namespace

void* operator new(std::size_t size) { return take(size); }
void* operator new[](std::size_t size) { return take(size); }
// Sanitizers bring their own of these, which would not meet the deletes below.
void* operator new(std::size_t size, const std::nothrow_t&) noexcept { return take(size); }
void* operator new[](std::size_t size, const std::nothrow_t&) noexcept { return take(size); }
void operator delete(void* pointer) noexcept { give_back(pointer); }
void operator delete[](void* pointer) noexcept { give_back(pointer); }
void operator delete(void* pointer, std::size_t) noexcept { give_back(pointer); }
void operator delete[](void* pointer, std::size_t) noexcept { give_back(pointer); }

namespace {

using namespace tithe;

/// The most memory that reading takes at a time, besides the text; errors of ours are caught and count too.
std::size_t peak_of(const std::function<void()>& read) {
  counter = {.on = true};
  try {
    read();
  } catch (const ModelFileError&) {  // refused: as good as read
  }
  counter.on = false;
  return counter.peak;
}

struct Hostile {
  std::string name;
  std::string text;
};

std::string repeated(std::string_view before, std::size_t count,
                     const std::function<std::string(std::size_t)>& item, std::string_view after) {
  std::string text{before};
  for (std::size_t i = 0; i < count; ++i) text += (i == 0 ? "" : ",") + item(i);
  return text += after;
}

/// Texts of about a megabyte, as unkind to a parser as they come.
std::vector<Hostile> hostile_texts() {
  constexpr std::size_t mega = 1 << 20;
  const auto quoted = [](std::size_t i) { return '"' + std::to_string(i) + '"'; };
  const std::string ones = repeated("[", 32, [](std::size_t) { return "1"; }, "]");
  return {
      {"many small tensors",
       repeated(
           "{", 20'000,
           [&](std::size_t i) { return quoted(i) + R"(:{"dtype":"U8","shape":[0],"data_offsets":[0,0]})"; },
           "}")},
      {"many dimensions", repeated(
                              "{", 8'000,
                              [&](std::size_t i) {
                                return quoted(i) + R"(:{"dtype":"U8","shape":)" + ones +
                                       R"(,"data_offsets":[0,0]})";
                              },
                              "}")},
      {"many entries of metadata",
       repeated(
           R"({"__metadata__":{)", 90'000, [&](std::size_t i) { return quoted(i) + ":\"\""; }, "}}")},
      {"a long name",
       "{\"" + std::string(mega, 'a') + R"(":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}})"},
      {"a long name that does not end", "{\"" + std::string(mega, 'a')},
      {"the longest name that breaks off", "{\"" + std::string(65'000, 'a')},
      {"a long name of escapes", "{\"" + repeated(
                                             "", mega / 6, [](std::size_t) { return "\\u0001"; }, "")},
      {"a long dtype", R"({"a":{"dtype":")" + std::string(mega, 'a') + "\"}}"},
      {"a long metadata text", R"({"__metadata__":{"a":")" + std::string(mega, 'a') + "\"}}"},
      {"a long number", R"({"a":{"dtype":"U8","shape":[)" + std::string(mega, '1') + "]}}"},
      {"a long shape",
       repeated(
           R"({"a":{"dtype":"U8","shape":[)", mega / 2, [](std::size_t) { return "1"; }, "]}}")},
      {"deep arrays", std::string(mega, '[')},
      {"deep objects", repeated(
                           "", mega / 6, [](std::size_t) { return "{\"a\":"; }, "")},
      {"an array of numbers", repeated(
                                  "{\"a\":[", mega / 2, [](std::size_t) { return "0"; }, "]}")},
      {"an array of arrays", repeated(
                                 "{\"a\":[", mega / 3, [](std::size_t) { return "[]"; }, "]}")},
      {"many keys", repeated(
                        "{", 90'000, [&](std::size_t i) { return quoted(i) + ":0"; }, "}")},
      {"spaces", "{" + std::string(mega, ' ') + "}"},
      {"a long index", repeated(
                           R"({"weight_map":{)", 40'000,
                           [&](std::size_t i) { return quoted(i) + ":\"a.safetensors\""; }, "}}")},
      {"an index of many files",
       repeated(
           R"({"weight_map":{)", 30'000,
           [&](std::size_t i) { return quoted(i) + ":\"" + std::to_string(i) + ".safetensors\""; }, "}}")},
      {"an index of one tensor",
       repeated(
           R"({"weight_map":{)", 40'000, [&](std::size_t) { return "\"a\":\"a.safetensors\""; }, "}}")},
      {"an index with much metadata",
       repeated(
           R"({"metadata":{)", 90'000, [&](std::size_t i) { return quoted(i) + ":[]"; }, "}}")},
  };
}

}  // namespace

CATCH_TEST_CASE("hostile headers and indexes take no more than four times their size", "[model][hostile]") {
  for (const Hostile& item : hostile_texts()) {
    std::string file;
    for (std::size_t i = 0; i < 8; ++i) file += static_cast<char>(item.text.size() >> (8 * i));
    file += item.text;
    const std::size_t header = peak_of([&] { (void)read_safetensors_header(file, {.file = "f"}); });
    const std::size_t index = peak_of([&] { (void)parse_weight_index(item.text, {.file = "f"}); });
    CATCH_CAPTURE(item.name, item.text.size(), header, index);
    // A token of 64 KiB that breaks off costs ten times that in the parser's own complaint.
    constexpr std::size_t complaint = 11 << 16;
    CATCH_CHECK(header <= 4 * item.text.size() + complaint);
    CATCH_CHECK(index <= 4 * item.text.size() + complaint);
  }
}

CATCH_TEST_CASE("a hostile configuration is a small one", "[model][hostile]") {
  const test::TemporaryFolder folder;
  const auto large = folder.file("config.json", std::string((1 << 18) + 1, ' '));
  std::string text;
  const std::size_t refused = peak_of([&] {
    try {
      (void)read_config(large);
    } catch (const ModelFileError& error) {
      text = error.what();
    }
  });
  CATCH_CHECK(test::contains(text, "at most 262144 bytes, but found 262145"));
  CATCH_CHECK(refused < 10'000);  // it is not even read
  for (const Hostile& item : hostile_texts()) {
    const std::size_t config = peak_of([&] { (void)parse_config(item.text, {.file = "f"}); });
    CATCH_CAPTURE(item.name, item.text.size(), config);
    CATCH_CHECK(config <= 33 * item.text.size());  // a document of one-digit numbers is 32 times its text
  }
}
