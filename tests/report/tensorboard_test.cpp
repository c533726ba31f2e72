// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include "tithe/report/tensorboard.hpp"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <limits>
#include <string>
#include <string_view>

#include "report/golden_events.hpp"
#include "temporary_folder.hpp"
#include "test.hpp"

namespace {

using namespace tithe;

std::string bytes_of(std::string_view hexadecimal) {
  std::string bytes;
  for (std::size_t i = 0; i < hexadecimal.size(); i += 2)
    bytes += static_cast<char>(std::stoi(std::string{hexadecimal.substr(i, 2)}, nullptr, 16));
  return bytes;
}

}  // namespace

// RFC 3720, section B.4, and the check value that catalogues of checksums give.
static_assert(detail::crc32c("123456789") == 0xE3069283u);
static_assert(detail::crc32c(std::string_view{
                  "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 32}) == 0x8A9136AAu);

CATCH_TEST_CASE("event files are TensorBoard's own, byte for byte", "[report]") {
  CATCH_CHECK(tensorboard_header(WallTime{1700000000.25}) == bytes_of(golden::header));
  const StepRecord step{
      .stage = "sft", .step = 4, .metrics = {{"loss", 0.6931471805599453}, {"grad_norm", 1e-12}}};
  CATCH_CHECK(tensorboard_event(step, 300, WallTime{1700000001.5}) == bytes_of(golden::event));
  CATCH_CHECK(tensorboard_event(step, 301, WallTime{1700000001.5}) != bytes_of(golden::event));
  const StepRecord special{
      .stage = "preference",
      .metrics = {{"rewards/margins", -std::numeric_limits<double>::infinity()}, {"é", -0.0}}};
  CATCH_CHECK(tensorboard_event(special, 1, WallTime{0.5}) == bytes_of(golden::special));
}

CATCH_TEST_CASE("an event file grows step by step and is never written over", "[report]") {
  const test::TemporaryFolder folder;
  const auto events = folder.path() / "runs" / "a";
  TensorBoardFile first{events};
  const TensorBoardFile second{events};
  CATCH_CHECK(first.path() != second.path());
  CATCH_CHECK(test::contains(first.path().filename().string(), "tfevents"));
  const StepRecord step{.stage = "sft", .metrics = {{"loss", 0.5}}};
  const auto header = std::filesystem::file_size(first.path());
  CATCH_CHECK(header == tensorboard_header(WallTime{1}).size());
  first.append(step, 1);
  first.append(step, 200);
  const auto grown = std::filesystem::file_size(first.path());
  // 200 takes two bytes of a varint, 1 takes one.
  CATCH_CHECK(grown == header + tensorboard_event(step, 1, WallTime{1}).size() +
                           tensorboard_event(step, 200, WallTime{1}).size());
  CATCH_CHECK(std::filesystem::file_size(second.path()) == header);
  const auto error = test::thrown<FileError>([&] { TensorBoardFile{first.path() / "below"}; });
  CATCH_CHECK(test::contains(error.what(), "TensorBoardFile needs to make the folder"));
}

CATCH_TEST_CASE("an event file that cannot be written is closed", "[report]") {
  const test::TemporaryFolder folder;
  const auto next_descriptor = [] {  // the lowest that is free
    const int descriptor = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    ::close(descriptor);
    return descriptor;
  };
  const int before = next_descriptor();
  rlimit limit{};
  CATCH_REQUIRE(::getrlimit(RLIMIT_FSIZE, &limit) == 0);
  const rlimit none{.rlim_cur = 0, .rlim_max = limit.rlim_max};
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  CATCH_REQUIRE(::setrlimit(RLIMIT_FSIZE, &none) == 0);  // no file may grow, as on a full disk
  std::string said;
  try {
    const TensorBoardFile file{folder.path()};
  } catch (const FileError& error) {
    said = error.what();
  }
  CATCH_REQUIRE(::setrlimit(RLIMIT_FSIZE, &limit) == 0);
  std::signal(SIGXFSZ, handler);
  CATCH_CHECK(test::contains(said, "TensorBoardFile needs to write"));
  CATCH_CHECK(next_descriptor() == before);
  CATCH_CHECK(TensorBoardFile{folder.path()}.path() != std::filesystem::path{});
}
