#include "training/html_report.hpp"

#include "../formats/expect_error.hpp"
#include "../formats/temporary_directory.hpp"

#include <cmath>

#include <gtest/gtest.h>

namespace metalloid::training {
namespace {

using namespace metalloid::testing;

Report sample() {
  Report report;
  report.title = "A run";
  report.summary = "It went well.";
  report.results = {{"Test accuracy", "90.00 %"}};
  report.charts = {{"Loss", "epoch", AxisFormat::number, {{"train", {{1, 0.5}, {2, 0.4}}}}}};
  report.settings = {{"Batch size", "128"}};
  report.timings = {{"Training", "8.9 s"}};
  report.environment = {{"Device", "cpu"}};
  report.confusion = {{"Shirt", "Coat", "Bag"}, {8, 2, 0, 1, 9, 0, 0, 0, 0}};
  return report;
}

std::size_t occurrences(const std::string& text, std::string_view part) {
  std::size_t count = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

TEST(HtmlReport, holdsEverything) {
  const std::string page = htmlReport(sample());
  for (const char* part :
       {"<!DOCTYPE html>", "<h1>A run</h1>", "It went well.", "90.00 %", "<svg ", "Batch size", "8.9 s", "Device",
        "Confusion matrix", "Shirt taken for Coat: 2 of 10 (20.0 %)", "prefers-color-scheme"}) {
    EXPECT_NE(page.find(part), std::string::npos) << part;
  }
}

TEST(HtmlReport, isSelfContained) {
  const std::string page = htmlReport(sample());
  for (const char* part : {"<script", "http:", "https:", "url(", "@import", "<link", " src="}) {
    EXPECT_EQ(page.find(part), std::string::npos) << part;
  }
}

TEST(HtmlReport, closesWhatItOpens) {
  const std::string page = htmlReport(sample());
  for (const std::string tag : {"html", "head", "body", "main", "section", "div", "table", "thead", "tbody", "tr", "td",
                                "svg", "ol", "li", "dl"}) {
    EXPECT_EQ(occurrences(page, "<" + tag + ">") + occurrences(page, "<" + tag + " "),
              occurrences(page, "</" + tag + ">"))
        << tag;
  }
}

TEST(HtmlReport, escapesEveryText) {
  Report report = sample();
  const std::string evil = "<img onerror=\"x\">";
  report.title = report.summary = evil;
  report.results = report.settings = report.timings = report.environment = {{evil, evil}};
  report.confusion.classNames = {evil, evil, evil};
  report.charts[0] = {evil, evil, AxisFormat::number, {{evil, {{1, 1}}}}};
  EXPECT_EQ(htmlReport(report).find("<img"), std::string::npos);
}

TEST(HtmlReport, leavesOutWhatIsEmpty) {
  Report report;
  report.title = "Empty";
  const std::string page = htmlReport(report);
  for (const char* part : {"<table", "<svg", "<section", "<dl"}) EXPECT_EQ(page.find(part), std::string::npos) << part;
}

TEST(HtmlReport, scoresClasses) {
  const auto scores = classScores(sample().confusion);
  EXPECT_DOUBLE_EQ(scores[0].precision, 8.0 / 9);
  EXPECT_DOUBLE_EQ(scores[0].recall, 0.8);
  EXPECT_DOUBLE_EQ(scores[0].f1, 16.0 / 19);
  EXPECT_EQ(scores[0].images, 10u);
  EXPECT_TRUE(std::isnan(scores[2].precision));
  EXPECT_TRUE(std::isnan(scores[2].recall));
  EXPECT_EQ(htmlReport(sample()).find("nan"), std::string::npos);
}

TEST(HtmlReport, refusesAMatrixOfAnotherSize) {
  Report report = sample();
  report.confusion.counts.pop_back();
  expectError(ErrorCode::invalidArgument, {"has 8 counts, but 3 classes need 9"}, [&] { htmlReport(report); });
}

TEST(HtmlReport, showsNoMatrixOfHundredsOfClasses) {
  Report report = sample();
  report.confusion.classNames.assign(200, "x");
  report.confusion.counts.assign(200 * 200, 1);
  EXPECT_EQ(htmlReport(report).find("Confusion matrix"), std::string::npos);
}

TEST(HtmlReport, keepsTheFormerReportWhenTheDiskIsFull) {
  const TemporaryDirectory directory;
  writeHtmlReport(directory / "report.html", sample());
  const std::string former = readFile(directory / "report.html");
  {
    const FileSizeLimit limit(1024);
    expectError(ErrorCode::device, {"the report", (directory / "report.html").string(), "File too large"},
                [&] { writeHtmlReport(directory / "report.html", sample()); });
  }
  EXPECT_EQ(readFile(directory / "report.html"), former);
  EXPECT_EQ(directory.entryCount(), 1u);
}

}  // namespace
}  // namespace metalloid::training
