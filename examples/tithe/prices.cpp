// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include "prices.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>
#include <string_view>
#include <system_error>

#include "session.hpp"
#include "tithe/core/text.hpp"

namespace program {

tithe::AnnotationPrices read_prices(const std::string& text) {
  std::optional<double> demonstration;
  std::optional<double> preference;
  const auto fail = [&](const std::string& why) {
    throw UsageError{"--prices " + text + ": " + why + "; write demonstration=2,preference=1"};
  };
  for (std::string_view rest = text; !rest.empty();) {
    const std::string_view part = rest.substr(0, rest.find(','));
    rest.remove_prefix(std::min(rest.size(), part.size() + 1));
    const std::string_view name = part.substr(0, part.find('='));
    const std::string_view number = part.substr(std::min(part.size(), name.size() + 1));
    std::optional<double>& price = name == "demonstration" ? demonstration : preference;
    if (name != "demonstration" && name != "preference")
      fail("no kind of label is called " + tithe::in_quotes(name));
    double value = 0;
    const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), value);
    if (error != std::errc{} || end != number.data() + number.size() || !(value > 0) || !std::isfinite(value))
      fail(tithe::in_quotes(number) + " is no price above 0");
    if (price) fail("two prices of one kind");
    price = value;
  }
  if (!demonstration || !preference) fail("both kinds of label need a price");
  return {.demonstration = tithe::Money::of(*demonstration), .preference = tithe::Money::of(*preference)};
}

}  // namespace program
