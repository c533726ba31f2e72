// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include "spending_text.hpp"

#include <cmath>
#include <optional>
#include <utility>
#include <vector>

#include "progress.hpp"
#include "tithe/budget/compute.hpp"
#include "tithe/core/stage.hpp"
#include "tithe/core/units.hpp"
#include "tithe/report/table.hpp"

namespace program {
namespace {

using tithe::Align;
using tithe::Stage;

/// Labels, what they cost, and what training on them takes.
struct Spending {
  tithe::Examples labels{};
  tithe::Money annotation{};
  tithe::Compute training{};

  Spending& operator+=(const Spending& other) {
    labels += other.labels;
    annotation += other.annotation;
    training += other.training;
    return *this;
  }
};

/// An amount of money, or hours, of which small ones keep their digits.
std::string amount_text(double amount) {
  return amount != 0 && std::abs(amount) < 0.01 ? figure_text(amount) : tithe::fixed_text(amount, 4);
}

/// A row for each stage, and their sum. Money is shown where there is any.
class SpendingTable {
 public:
  SpendingTable(const BudgetSettings& settings, const tithe::ComputePrice& device, const char* title)
      : of_labels_{settings.money.has_value()},
        of_training_{settings.price_per_hour.has_value()},
        device_{device},
        table_{columns(title)} {}

  void row(std::string what, const Spending& spending) {
    std::vector<std::string> cells{std::move(what), std::to_string(spending.labels.value())};
    if (of_labels_) cells.push_back(amount_text(spending.annotation.units()));
    cells.push_back(figure_text(spending.training.operations()));
    cells.push_back(amount_text(device_.hours(spending.training).value));
    if (of_training_) {
      const tithe::Money training = device_.cost(spending.training);
      cells.push_back(amount_text(training.units()));
      cells.push_back(amount_text((spending.annotation + training).units()));
    }
    table_.row(std::move(cells));
  }
  void rule() { table_.rule(); }
  [[nodiscard]] std::string text() const { return table_.text(); }

 private:
  [[nodiscard]] std::vector<tithe::TableColumn> columns(const char* title) const {
    std::vector<tithe::TableColumn> columns{{title, Align::left}, {"labels"}};
    if (of_labels_) columns.push_back({"labels cost"});
    columns.push_back({"operations"});
    columns.push_back({"hours"});
    if (of_training_) columns.insert(columns.end(), {{"training costs"}, {"in all"}});
    return columns;
  }

  bool of_labels_;
  bool of_training_;
  tithe::ComputePrice device_;
  tithe::Table table_;
};

std::string device_text(const BudgetSettings& settings, const tithe::ComputePrice& device) {
  std::string text = "device: " + figure_text(*settings.peak_tflops) + "e12 operations a second, of which " +
                     tithe::fixed_text(100 * device.utilisation.value(), 1) + " % are reached";
  if (settings.price_per_hour) text += "; an hour costs " + figure_text(*settings.price_per_hour);
  return text + '\n';
}

std::string left_text(const BudgetSettings& settings, const tithe::ComputePrice& device,
                      const Spending& sum) {
  std::string text;
  if (settings.money) {
    tithe::Money left = tithe::Money::of(*settings.money) - sum.annotation;
    if (settings.price_per_hour) left -= device.cost(sum.training);
    text = amount_text(left.units()) + " of " + figure_text(*settings.money) + " in money";
  }
  if (settings.max_hours) {
    text += (text.empty() ? "" : ", ") + amount_text(*settings.max_hours - device.hours(sum.training).value) +
            " of " + figure_text(*settings.max_hours) + " hours";
  }
  return text.empty() ? text : "left: " + text + '\n';
}

}  // namespace

std::string spending_text(const BudgetSettings& settings, const RunPreview& preview,
                          const tithe::Ledger* paid) {
  const std::optional<tithe::ComputePrice> device = settings.device();
  if (!device) return {};
  const tithe::AnnotationPrices& prices = preview.ledger.budget().annotation();
  SpendingTable table{settings, *device, paid ? "planned and paid" : "planned"};
  Spending planned, spent;
  for (const StagePreview& stage : preview.stages) {
    const std::string name{tithe::name(stage.stage)};
    const Spending plan{.labels = tithe::Examples{stage.labels},
                        .annotation = prices.of(stage.stage) * tithe::Examples{stage.labels},
                        .training = tithe::Compute::of(stage.operations.total())};
    table.row(paid ? name + ", planned" : name, plan);
    planned += plan;
    if (!paid) continue;
    const tithe::Examples labels = paid->paid(stage.stage);
    const Spending pay{.labels = labels,
                       .annotation = prices.of(stage.stage) * labels,
                       .training = paid->spent_compute(stage.stage)};
    table.row(name + ", paid", pay);
    spent += pay;
  }
  table.rule();
  table.row(paid ? "in all, planned" : "in all", planned);
  if (paid) table.row("in all, paid", spent);
  return device_text(settings, *device) + table.text() + left_text(settings, *device, paid ? spent : planned);
}

}  // namespace program
