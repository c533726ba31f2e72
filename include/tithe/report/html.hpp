// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <string>

#include "tithe/report/advice_sections.hpp"
#include "tithe/report/page_parts.hpp"
#include "tithe/report/page_style.hpp"
#include "tithe/report/study_sections.hpp"
#include "tithe/study/report_input.hpp"

namespace tithe {

/// A report as one HTML file: pictures and style within, no script, nothing fetched; light or dark as the reader's
/// screen is, light in print.
inline std::string html_report(const ReportInput& input) {
  const Advice* advice = input.advice ? &*input.advice : nullptr;
  const std::string title = input.title.empty() ? "An annotation budget, split" : input.title;
  const Markup body =
      element("h1", {}, title) + answer_section(input) + score_section(input) + surface_section(advice) +
      best_share_section(advice) + rules_section(advice) + line_section(advice) + probe_section(input) +
      ledger_section(input) + cell_section(input) + reproduction_section(input) +
      element("footer", {}, "Written by tithe. Rest the pointer on a mark to read its numbers.");
  return "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n" +
         std::string{"<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"} +
         // Whatever a record says, nothing is loaded and nothing runs.
         "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; "
         "style-src 'unsafe-inline'\">\n" +
         "<link rel=\"icon\" href=\"data:,\">\n" + element("title", {}, title).text() + "\n<style>" +
         style_text(page_rules) + "</style>\n</head>\n<body>\n<main>\n" + body.text() +
         "\n</main>\n</body>\n</html>\n";
}

}  // namespace tithe
