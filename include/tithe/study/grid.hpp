// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <array>
#include <boost/hana/bool.hpp>
#include <boost/hana/cartesian_product.hpp>
#include <boost/hana/filter.hpp>
#include <boost/hana/transform.hpp>
#include <boost/hana/tuple.hpp>
#include <boost/hana/type.hpp>
#include <boost/hana/unpack.hpp>
#include <cstddef>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "tithe/composition.hpp"
#include "tithe/composition_rules.hpp"
#include "tithe/study/grid_rules.hpp"
#include "tithe/study/nearest.hpp"

/// Many pipelines as one type: lists of policies, every combination of them that is a pipeline, and each by its name.
namespace tithe {

/// A combination that a grid leaves out, and why.
struct RefusedCombination {
  std::string policies{};  ///< their names: "SftOnly, Dpo<0.1>, FrozenSft"
  Misuse misuse = Misuse::none;
  std::string_view reason{};
};

namespace detail {

namespace hana = boost::hana;

// A combination is a tuple of the types of a schedule, a supervised loss, a loss and a reference.
inline constexpr auto is_pipeline = [](auto combination) {
  return hana::unpack(combination, [](auto... policy) {
    constexpr bool valid = misuse_of({grid_facts<typename decltype(policy)::type>...}) == Misuse::none;
    return hana::bool_c<valid>;
  });
};
inline constexpr auto to_recipe = [](auto combination) {
  return hana::unpack(combination, []<class S, class V, class L, class R>(S, V, L, R) {
    return hana::type_c<Policies<typename S::type, Filled<Slot::supervised, typename V::type>,
                                 typename L::type, Filled<Slot::reference, typename R::type>>>;
  });
};

template <class... S, class... V, class... L, class... R>
constexpr auto recipes_of(PolicyList<S...>, PolicyList<V...>, PolicyList<L...>, PolicyList<R...>) {
  const auto combinations = hana::cartesian_product(
      hana::make_tuple(hana::make_tuple(hana::type_c<S>...), hana::make_tuple(hana::type_c<V>...),
                       hana::make_tuple(hana::type_c<L>...), hana::make_tuple(hana::type_c<R>...)));
  return hana::unpack(hana::transform(hana::filter(combinations, is_pipeline), to_recipe),
                      []<class... Type>(Type...) { return PolicyList<typename Type::type...>{}; });
}

template <class P>
std::string name_in_grid() {
  if constexpr (std::is_same_v<P, Absent>) {
    return {};
  } else {
    return P{}.name();
  }
}
template <class... P>
std::vector<std::string> names_of(PolicyList<P...>) {
  return {name_in_grid<P>()...};
}

}  // namespace detail

/// The pipelines of a grid. Each is a composition (composition.hpp), with which `CheckedPipeline<Recipe>::Trainer` trains.
template <class... Lists>
class GridOf {
  using All = detail::GridLists<Lists...>;
  static constexpr auto misuses = detail::misuses_of<All::size>(typename All::S{}, typename All::V{},
                                                                typename All::L{}, typename All::R{});

 public:
  /// The types of the compositions: schedules run slowest, references fastest.
  using Recipes = decltype(detail::recipes_of(typename All::S{}, typename All::V{}, typename All::L{},
                                              typename All::R{}));
  static constexpr std::size_t combinations = All::size;  ///< of the lists, pipelines or not
  static constexpr std::size_t size = misuses.valid;      ///< of these that are pipelines

  /// Calls `use(recipe)` for every pipeline, a value of its type.
  template <class Use>
  static void for_each(Use&& use) {
    [&]<class... Recipe>(detail::PolicyList<Recipe...>) { (use(Recipe{}), ...); }(Recipes{});
  }

  /// The names of the pipelines.
  [[nodiscard]] static std::vector<std::string> names() {
    std::vector<std::string> names;
    for_each([&](const auto& recipe) { names.push_back(recipe.name()); });
    return names;
  }

  /// Calls `use(recipe)` for the pipeline of a name, and gives what it returns, one type for all. Throws OptionError, with
  /// the nearest names, where there is none.
  template <class Use>
  static auto visit(std::string_view name, Use&& use) {
    const std::size_t place = require_name(name, names(), "Grid", "a pipeline of the grid");
    return [&]<class... Recipe>(detail::PolicyList<Recipe...>) {
      using Result = std::common_type_t<decltype(use(Recipe{}))...>;
      constexpr std::array<Result (*)(Use&), size> calls{
          [](Use& with) -> Result { return with(Recipe{}); }...};
      return calls[place](use);
    }(Recipes{});
  }

  /// The combinations that are no pipeline.
  [[nodiscard]] static std::vector<RefusedCombination> refused() {
    std::vector<RefusedCombination> refused;
    std::size_t place = 0;
    for (const std::string& schedule : detail::names_of(typename All::S{})) {
      for (const std::string& supervised : detail::names_of(typename All::V{})) {
        for (const std::string& loss : detail::names_of(typename All::L{})) {
          for (const std::string& reference : detail::names_of(typename All::R{})) {
            const Misuse misuse = misuses.misuse[place++];
            if (misuse == Misuse::none) continue;
            std::string names = schedule;
            for (const std::string* other : {&supervised, &loss, &reference}) {
              if (!other->empty()) names += ", " + *other;
            }
            refused.push_back({std::move(names), misuse, reason_in_grid(misuse)});
          }
        }
      }
    }
    return refused;
  }
};

namespace detail {

// What a refused grid stands for, so that the compiler says no more than what is wrong.
struct RefusedGrid {
  using Recipes = PolicyList<>;
  static constexpr std::size_t combinations = 0;
  static constexpr std::size_t size = 0;
  static void for_each(const auto&) {}
  static std::vector<std::string> names() { return {}; }
  static void visit(std::string_view, const auto&) {}
  static std::vector<RefusedCombination> refused() { return {}; }
};

template <bool verified, class... Lists>
struct CheckedGrid {
  using type = GridOf<Lists...>;
};
template <class... Lists>
struct CheckedGrid<false, Lists...> {
  using type = RefusedGrid;
};

}  // namespace detail

/// A grid of pipelines, from lists in any order; the losses may be left out, and the references, where there are none.
/// What cannot be a grid is one compile error that says how to mend it.
///
///     using Shares = tithe::Grid<tithe::Schedules<tithe::SftFraction<0.1>, tithe::SftFraction<0.5>>,
///                                tithe::Losses<tithe::Dpo<0.1>, tithe::SimPo<>>,
///                                tithe::References<tithe::FrozenSft, tithe::NoReference>>;
///     static_assert(Shares::size == 4);
template <class... Lists>
using Grid = typename detail::CheckedGrid<verify_grid<Lists...>(), Lists...>::type;

}  // namespace tithe
