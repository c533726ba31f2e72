// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
// What scripts/check-symbols must find: a global variable, and one inside a function. And what it must let pass.
#include <string_view>

namespace tithe::planted {

int counter = 0;

inline int next() {
  static int calls = 0;
  return ++calls + ++counter;
}

extern const int table[];
const int table[] = {1, 2, 3};

struct Interface {
  virtual ~Interface() = default;
  virtual std::string_view name() const { return "constant"; }
};
Interface* make() { return new Interface; }

}  // namespace tithe::planted
