// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "report/made_up_study.hpp"
#include "test.hpp"
#include "tithe/report/figure_file.hpp"
#include "tithe/report/html.hpp"
#include "tithe/report/markdown.hpp"

namespace {

using namespace tithe;
using test::contains;
using test::made_up_records;
using test::thrown;

std::size_t count_of(const std::string& text, const std::string& part) {
  std::size_t count = 0;
  for (std::size_t at = text.find(part); at != text.npos; at = text.find(part, at + part.size())) ++count;
  return count;
}

}  // namespace

CATCH_TEST_CASE("numbers are written as people read them", "[report]") {
  CATCH_CHECK(count_text(0) == "0");
  CATCH_CHECK(count_text(14'075) == "14,075");
  CATCH_CHECK(count_text(std::numeric_limits<std::int64_t>::min()) == "−9,223,372,036,854,775,808");
  CATCH_CHECK(plain_text(1234567.5, 1) == "1,234,567.5");
  CATCH_CHECK(plain_text(-0.0004, 2) == "0");
  CATCH_CHECK(plain_text(std::nan(""), 2) == "–");
  CATCH_CHECK(score_text(-0.0001) == "0.000");
  CATCH_CHECK(gain_text(-0.0061) == "−0.006");
  CATCH_CHECK(gain_text(0.0061) == "+0.006");
  CATCH_CHECK(score_text(-std::numeric_limits<double>::infinity()) == "−∞");
  CATCH_CHECK(share_text(0.4884) == "48.8%");
  CATCH_CHECK(money_text(6000) == "6,000");
  CATCH_CHECK(money_text(12.5) == "12.50");
  CATCH_CHECK(money_text(0.002) == "0.002");
  CATCH_CHECK(operations_text(3.14e12) == "3.1 × 10¹²");
  CATCH_CHECK(money_text(0.00000125) == "0.00000125");
  CATCH_CHECK(money_text(4e-7) == "0.0000004");
  CATCH_CHECK(money_text(-2.5e-12) == "−2.5 × 10⁻¹²");
  CATCH_CHECK(money_text(999.999) == "1,000");
  CATCH_CHECK(money_text(0.) == "0");
  CATCH_CHECK(operations_text(0) == "–");
  CATCH_CHECK(operations_text(999) == "999");
  CATCH_CHECK(operations_text(999'940) == "999.9 × 10³");
  CATCH_CHECK(operations_text(999'960) == "1.0 × 10⁶");
  CATCH_CHECK(short_text(999'999) == "1M");
  CATCH_CHECK(short_text(999'000) == "999k");
  CATCH_CHECK(budget_text(1000, "examples") == "1,000 labels");
  CATCH_CHECK(budget_text(12.5, "money") == "12.50");
  CATCH_CHECK(budget_text(2e15, "compute") == "2.0 × 10¹⁵ operations");
  CATCH_CHECK(duration_text(0.26) == "0.3 s");
  CATCH_CHECK(duration_text(59.4) == "59 s");
  CATCH_CHECK(duration_text(200) == "3 min 20 s");
  CATCH_CHECK(duration_text(7500) == "2 h 5 min");
}

CATCH_TEST_CASE("axes have round numbers, and labels do not stand on each other", "[report]") {
  const auto texts = [](const std::vector<Tick>& ticks) {
    std::string all;
    for (const Tick& tick : ticks) all += (all.empty() ? "" : " ") + tick.text;
    return all;
  };
  CATCH_CHECK(texts(nice_range(0.11, 0.77).ticks) == "0.0 0.2 0.4 0.6 0.8");
  CATCH_CHECK(texts(nice_range(0.91, 0.93).ticks) == "0.910 0.915 0.920 0.925 0.930");
  CATCH_CHECK(texts(nice_range(-3, 2).ticks) == "−3 −2 −1 0 1 2");
  CATCH_CHECK(texts(nice_range(5, 5).ticks) == "4.4 4.6 4.8 5.0 5.2 5.4 5.6");
  CATCH_CHECK(texts(log_ticks(30, 1000)) == "50 100 200 500 1k");
  CATCH_CHECK(texts(log_ticks(1, 1e9)) == "1 10 100 1k 10k 100k 1M 10M 100M 1G");
  const auto places = spread({100, 101, 102, 300}, 14, 90, 320);
  CATCH_CHECK(places[0] >= 90 - 0.1);
  CATCH_CHECK(places[1] - places[0] >= 13.9);
  CATCH_CHECK(places[2] - places[1] >= 13.9);
  CATCH_CHECK(places[3] == 300);
}

CATCH_TEST_CASE("several seeds are a mean with Student's interval over them", "[report]") {
  const std::vector<Estimate> runs{
      {"a", 0.2, 0.1, 0.3, 100}, {"a", 0.3, 0.2, 0.4, 100}, {"a", 0.4, 0.3, 0.5, 100}};
  const Estimate mean = mean_over_runs(runs);
  CATCH_CHECK(mean.value == test::Approx(0.3));
  // t(2, 97.5%) = 4.303, the deviation is 0.1: R's t.test(c(.2, .3, .4)) says 0.0516 to 0.5484.
  CATCH_CHECK(mean.low == test::Approx(0.0516).margin(1e-4));
  CATCH_CHECK(mean.high == test::Approx(0.5484).margin(1e-4));
  CATCH_CHECK(mean.samples == 3);
  CATCH_CHECK(mean_over_runs(std::span{runs}.first(1)).low == 0.1);  // its own
  const std::vector<Estimate> wide{{"a", 0.1, 0.1, 0.1, 1}, {"a", 0.9, 0.9, 0.9, 1}};
  CATCH_CHECK(mean_over_runs(wide, FigureRange::share).low == 0);  // a share stays one
  CATCH_CHECK(mean_over_runs(wide, FigureRange::share).high == 1);
  CATCH_CHECK(mean_over_runs(wide).low < 0);  // and a divergence under 1 is none
  CATCH_CHECK(mean_over_runs(wide).high > 1);
  // Seeds that agree say nothing of the held-out examples, which they share.
  const std::vector<Estimate> equal{{"a", 0.5, 0.4, 0.62, 70}, {"a", 0.5, 0.4, 0.62, 70}};
  CATCH_CHECK(mean_over_runs(equal).low == 0.4);
  CATCH_CHECK(mean_over_runs(equal).high == 0.62);
  CATCH_CHECK(figure_text(mean_over_runs(equal)) == "0.500 [0.400, 0.620]");
  const double none = std::nan("");
  const std::vector<Estimate> unknown{{"a", 0.4, none, none, 9}, {"a", 0.6, none, none, 9}};
  CATCH_CHECK(mean_over_runs(unknown).low < 0.4);  // by the seeds alone
}

CATCH_TEST_CASE("shares alone end at 0 and at 1, whatever else lies between them", "[report]") {
  CATCH_CHECK(is_share(share_estimate("accuracy", 3, 40)));
  CATCH_CHECK(is_share(share_estimate("accuracy", 0, 40)));
  CATCH_CHECK(!is_share({"divergence", 0.3, 0.2, 0.4, 40}));
  CATCH_CHECK(!is_share({"norm", 0.3, 0.3, 0.3, 1}));
  std::vector<CellRecord> records =
      made_up_records({.budgets = {100}, .shares = {0.5}, .seeds = {1, 2}, .losses = {"Dpo<0.1>"}});
  for (std::size_t i = 0; i < 2; ++i) {
    const std::int64_t right = i == 0 ? 2 : 38;
    const Estimate share = share_estimate("accuracy", right, 40);
    records[i].scores = {share, {"loss", share.value, share.value, share.value, 40}};
    records[i].probes = {{"sft", {"divergence", share.value, share.value, share.value, 40}}};
  }
  const auto panels = score_panels(records);
  CATCH_REQUIRE(panels.size() == 2);
  CATCH_CHECK(panels[0].lines[0].points[0].score.low == 0);
  CATCH_CHECK(panels[0].lines[0].points[0].score.high == 1);
  CATCH_CHECK(panels[1].lines[0].points[0].score.low < 0);
  const auto probes = probe_panels(records);
  CATCH_REQUIRE(probes.size() == 1);
  CATCH_CHECK(probes[0].lines[0].points[0].estimate.low < 0);
  CATCH_CHECK(probes[0].lines[0].points[0].estimate.high > 1);
}

CATCH_TEST_CASE("records are gathered by panel, share and budget, whatever their order", "[report]") {
  std::vector<CellRecord> records = made_up_records();
  const auto panels = score_panels(in_order(records));
  CATCH_REQUIRE(panels.size() == 4);           // two losses, two metrics
  CATCH_CHECK(panels[0].title == "Dpo<0.1>");  // the other axes are alike everywhere
  CATCH_CHECK(panels[0].metric == "accuracy, sampled");
  CATCH_REQUIRE(panels[0].lines.size() == 5);
  CATCH_CHECK(panels[0].lines[2].sft_share == 0.25);
  CATCH_REQUIRE(panels[0].lines[2].points.size() == 4);
  CATCH_CHECK(panels[0].lines[2].points[3].demonstrations == Examples{250});
  CATCH_CHECK(panels[0].lines[2].points[3].seeds.size() == 3);
  std::reverse(records.begin(), records.end());
  ReportInput backwards = report_input(records);
  std::reverse(records.begin(), records.end());
  CATCH_CHECK(html_report(backwards) == html_report(report_input(records)));
  CATCH_CHECK(score_panels(records, "accuracy, greedy").size() == 2);
  CATCH_CHECK(score_panels(records, "unknown").empty());

  const auto totals = stage_totals(records);
  CATCH_REQUIRE(totals.size() == 2);
  CATCH_CHECK(totals[0].stage == "sft");
  std::int64_t paid = 0;
  std::int64_t shared = 0;
  for (const CellRecord& record : records) {
    for (const StageSpending& stage : record.stages) {
      if (stage.stage == "sft") paid += stage.paid.value(), shared += stage.shared ? stage.steps : 0;
    }
  }
  CATCH_CHECK(totals[0].paid == Examples{paid});
  CATCH_CHECK(totals[0].paid_money == test::Approx(2.0 * static_cast<double>(paid)));
  CATCH_CHECK(totals[0].steps_shared == shared);
  CATCH_CHECK(shared > 0);
  // Of 120 cells 24 have no demonstrations and 24 no preferences; the others have both, and are one cell each.
  CATCH_CHECK(totals[0].cells == 96);
  CATCH_CHECK(totals[1].cells == 96);
  const StageTotal all = total_of_stages(records);
  CATCH_CHECK(all.cells == 120);
  CATCH_CHECK(all.paid == totals[0].paid + totals[1].paid);
  CATCH_CHECK(all.paid_money == test::Approx(totals[0].paid_money + totals[1].paid_money));
  CATCH_CHECK(all.steps_shared == shared);
  CATCH_CHECK(contains(markdown_report(report_input(records)), "| all | 120 | "));

  const auto probes = probe_panels(records);
  CATCH_REQUIRE(probes.size() == 10);
  CATCH_CHECK(probes[0].budget == 1000);
  CATCH_CHECK(probes[0].lines[0].points.size() == 2);  // no demonstrations, no stage of them
  CATCH_CHECK(probes[0].lines[1].points.size() == 3);
}

CATCH_TEST_CASE("the base model's score belongs to every panel of its task", "[report]") {
  std::vector<CellRecord> records = made_up_records();
  const std::string task = records.front().task;
  const auto axes = constant_axes(records);
  CATCH_CHECK(!score_panels(records)[0].base);
  records.push_back({.key = "base", .study = "miniature", .task = task, .pipeline = "base"});
  records.back().scores = {{"accuracy, sampled", .02, .01, .04, 200}};
  const auto panels = score_panels(in_order(records));
  CATCH_REQUIRE(panels.size() == 4);
  CATCH_CHECK(panels[0].title == "Dpo<0.1>");
  CATCH_CHECK(panels[0].lines[0].points.size() == 4);
  for (const ScorePanel& panel : panels) {
    CATCH_CHECK(panel.base.has_value() == (panel.metric == "accuracy, sampled"));
  }
  CATCH_CHECK(constant_axes(records) == axes);
  // And so do its probes, to cells that have none of it.
  for (CellRecord& record : records)
    std::erase_if(record.probes, [](const ProbeRecord& probe) { return probe.stage == "base"; });
  CATCH_CHECK(probe_panels(records)[0].lines[1].points.size() == 2);
  records.back().probes = {{"base", {"format", .5, .4, .6, 128}}};
  CATCH_CHECK(probe_panels(records)[0].probe == "format");
  CATCH_CHECK(probe_panels(records)[0].lines[1].points.size() == 3);
  CATCH_CHECK(probe_panels(records)[0].lines[1].points[0].estimate.value == .5);
  const ReportInput input = report_input(records);
  CATCH_CHECK(contains(html_report(input), "the base model: 0.020 [0.010, 0.040]"));
  CATCH_CHECK(contains(markdown_report(input), "| the base model |"));

  // The first cell of a study: there is nothing yet that it could belong to.
  records.erase(records.begin(), records.end() - 1);
  CATCH_CHECK(score_panels(records).size() == 1);
}

CATCH_TEST_CASE("a page holds every part, its answer first, and nothing that asks or runs", "[report]") {
  const std::string page = html_report(test::made_up_report());
  std::size_t at = 0;
  for (const char* part :
       {"Buy <b>900 demonstrations and 1,200 preferences</b>.", "Score against budget", "What labels bring",
        "How the split moves", "Against the rules", "no measurable difference", "How exact the split",
        "Why the cold start", "What was paid", "Every cell", "The loss was not finite in step 12",
        "tithe report study --prices demonstration=2,preference=1"}) {
    CATCH_CAPTURE(part);
    const std::size_t found = page.find(part, at);
    CATCH_REQUIRE(found != page.npos);
    at = found;
  }
  CATCH_CHECK(count_of(page, "<svg xmlns") == 4 + 3 + 10);
  for (const char* never : {"<script", "src=", "@import", "url(", "href=\"http", "nan", ">inf"}) {
    CATCH_CAPTURE(never);
    CATCH_CHECK(!contains(page, never));
  }
}

CATCH_TEST_CASE("many lines are told apart, and their intervals do not hide them", "[report]") {
  CATCH_CHECK(series_class(6) == "c6");
  CATCH_CHECK(series_class(7) == "c0 d1");
  CATCH_CHECK(series_class(20) == "c6 d2");
  const auto page_of = [](std::vector<double> shares) {
    auto records = made_up_records({.shares = std::move(shares), .losses = {"Dpo<0.1>"}});
    records.push_back({.key = "base", .task = records[0].task, .scores = records[0].scores});
    return html_report(report_input(records));
  };
  const std::string few = page_of({0, .1, .25, .5, .75, 1});
  CATCH_CHECK(count_of(few, "\"whisker c") == (2 * 4 + 5 * 2) * 6 - 5 * 2);  // no stage of no share
  CATCH_CHECK(!contains(few, "\"whisker quiet"));
  CATCH_CHECK(!contains(few, "\"line c0 d1\""));
  const std::string many = page_of({0, .05, .1, .25, .5, .75, .9, 1});
  CATCH_CHECK(!contains(many, "\"whisker c"));
  CATCH_CHECK(count_of(many, "\"whisker quiet c") == (2 * 4 + 5 * 2) * 8 - 5 * 2);
  CATCH_CHECK(contains(many, "\"line c0 d1\""));
  CATCH_CHECK(contains(many, "too many lines to show them"));
  // The base model's name stands to the right of the plot, where no line runs.
  const std::size_t base = few.find(">base</text>");
  CATCH_REQUIRE(base != few.npos);
  const std::size_t x = few.rfind("<text x=\"", base) + 9;
  CATCH_CHECK(std::stod(few.substr(x)) > Frame{}.x_end());
}

CATCH_TEST_CASE("what is missing is said, and no picture stands empty", "[report]") {
  const std::string empty = html_report(report_input({}));
  CATCH_CHECK(!contains(empty, "<svg xmlns"));
  for (const char* said :
       {"No split is recommended here.", "The study has no cells yet.", "No probes were recorded",
        "No cell has spent anything", "There are none.", "Neither commands nor records"}) {
    CATCH_CAPTURE(said);
    CATCH_CHECK(contains(empty, said));
  }
  auto records = made_up_records({.budgets = {300}, .seeds = {1}, .losses = {"Dpo<0.1>"}, .probes = false});
  const std::string one_budget = html_report(report_input(records));
  CATCH_CHECK(contains(one_budget, "SFT share of 300 labels"));
  CATCH_CHECK(contains(one_budget, "Every cell was run with one seed"));
  for (CellRecord& record : records) record.error = "no room";
  const std::string failed = html_report(report_input(records));
  CATCH_CHECK(contains(failed, "Every cell failed"));
  CATCH_CHECK(contains(failed, "no room"));
  CATCH_CHECK(!contains(failed, "<svg xmlns"));
  for (CellRecord& record : records) record.error.clear(), record.scores = {{"a", std::nan(""), 0, 0, 0}};
  CATCH_CHECK(contains(html_report(report_input(records)), "a: no score is a number."));

  ReportInput bare = test::made_up_report();
  bare.advice->surface = {};
  bare.advice->best_shares.resize(1);
  bare.advice->best_shares[0].points.resize(1);
  bare.advice->recommendation.line.clear();
  bare.advice->recommendation.rules.clear();
  bare.advice->recommendation.next_pilot.reset();
  const std::string page = html_report(bare);
  for (const char* said : {"The surface was not worked out", "for one budget only", "fewer than two plans",
                           "No rule was compared", "no affordable run"}) {
    CATCH_CAPTURE(said);
    CATCH_CHECK(contains(page, said));
  }
}

CATCH_TEST_CASE("records that no cell can leave are refused, and figures without bounds are shown",
                "[report]") {
  const double infinity = std::numeric_limits<double>::infinity();
  auto records = made_up_records({.budgets = {30, 100}, .seeds = {1, 2}, .losses = {"Dpo<0.1>"}});
  for (CellRecord& record : records) {
    for (ProbeRecord& probe : record.probes) {
      if (probe.stage == "preference") probe.estimate = {probe.estimate.name, infinity, 0, infinity, 1};
    }
    if (record.sft_share == 0)
      record.scores[0] = {record.scores[0].name, std::nan(""), std::nan(""), std::nan(""), 0};
  }
  const std::string page = html_report(report_input(records));
  CATCH_CHECK(contains(page, "∞"));
  CATCH_CHECK(!contains(page, "nan"));
  for (const double bad : {std::nan(""), -1.0, infinity}) {
    auto wrong = records;
    wrong[1].budget = bad;
    CATCH_CHECK(contains(thrown<DataError>([&] { (void)report_input(wrong); }).what(),
                         "a budget that is a number from 0"));
    wrong = records;
    wrong[1].sft_share = bad;
    CATCH_CHECK(contains(thrown<DataError>([&] { (void)report_input(wrong); }).what(),
                         "a share of the budget from 0 to 1"));
  }
}

CATCH_TEST_CASE("what records say is shown and never obeyed", "[report]") {
  CATCH_CHECK(Markup{"<a b='c' d=\"e\">&\x01\xFF\u202E"}.text() ==
              "&lt;a b=&#39;c&#39; d=&quot;e&quot;&gt;&amp;\uFFFD\uFFFD\uFFFD");
  CATCH_CHECK(element("p", {{"title", "\"><i>"}}, "<b>").text() ==
              "<p title=\"&quot;&gt;&lt;i&gt;\">&lt;b&gt;</p>");
  CATCH_CHECK(markdown_escaped("a|b <i> [x](http://y)\nz") == "a\\|b &lt;i&gt; \\[x\\]\\(http\\://y\\) z");
  CATCH_CHECK(!contains(markdown_escaped("<img src=x>"), "<"));
  CATCH_CHECK(markdown_escaped("the study's \"rule\" & #1 \u202E") ==
              "the study's \"rule\" &amp; \\#1 \uFFFD");  // no entity whose '#' is escaped in turn
  CATCH_CHECK(!contains(markdown_report(test::made_up_report()), "&\\#"));
  CATCH_CHECK(!contains(markdown_escaped("see http://x"), "http://"));
}

CATCH_TEST_CASE("Markdown has the page's facts as tables", "[report]") {
  const ReportInput input = test::made_up_report();
  const std::string text = markdown_report(input);
  CATCH_CHECK(text.starts_with("# miniature\n\n**Buy 900 demonstrations and 1,200 preferences.**"));
  CATCH_CHECK(contains(text, "| half of the labels | 1,000 | 1,000 |"));
  CATCH_CHECK(contains(text, "no measurable difference"));
  CATCH_CHECK(contains(text, "The loss was not finite in step 12 \\(pairs.jsonl:204\\)"));
  CATCH_CHECK(contains(text, "| all | "));
  CATCH_CHECK(contains(text, "    tithe report study --prices"));
  for (std::size_t at = 0, end = 0; (end = text.find('\n', at)) != text.npos; at = end + 1) {
    if (text[at] == '|') CATCH_CHECK(text[end - 1] == '|');  // no row is torn
  }
  const std::string empty = markdown_report(report_input({}));
  CATCH_CHECK(contains(empty, "No split is recommended here."));
  CATCH_CHECK(contains(empty, "The study has no cells yet."));
}

CATCH_TEST_CASE("the study's figure is a file of its own", "[report]") {
  const std::string svg = score_figure_file(test::made_up_report());
  CATCH_CHECK(svg.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 792 "));
  CATCH_CHECK(count_of(svg, "<svg") == 1 + 2 * 4);
  CATCH_CHECK(count_of(svg, "class=\"mark\"") == 4 * 5 * 4);
  const auto error = thrown<DataError>([] { (void)score_figure_file(report_input({})); });
  CATCH_CHECK(contains(error.what(), "score_figure_file needs cells with scores, but found none"));
}
