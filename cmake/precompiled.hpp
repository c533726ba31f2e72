// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

// Third-party and standard headers that most of our translation units read. Nothing of tithe's own stands here, so that
// editing a header of ours does not rebuild it. No source may depend on it: scripts/check-headers compiles without it.
#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <span>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>
