#include "training/network_text.hpp"

#include "core/format.hpp"

#include <metalloid/error.hpp>

#include <algorithm>
#include <charconv>
#include <cmath>

namespace metalloid::training {
namespace {

constexpr std::string_view kSpace = " \t\r";
constexpr std::size_t kShownLetters = 40;

bool isLetter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool isDigit(char c) { return c >= '0' && c <= '9'; }

/// What a message shows of a word: damaged files have long ones, with any bytes.
std::string shown(std::string_view text) {
  std::string result;
  for (const char c : text.substr(0, kShownLetters)) result += c > ' ' && c < 127 ? c : '?';
  return text.size() > kShownLetters ? result + "..." : result;
}

template <class Number>
bool parse(std::string_view text, Number& value) {
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  return !text.empty() && error == std::errc() && stop == end;
}

}  // namespace

Line::Line(std::string_view text, std::size_t number, std::string_view title) : title_(title) {
  const std::string_view content = text.substr(0, text.find('#'));
  std::size_t at = 0;
  while ((at = content.find_first_not_of(kSpace, at)) != std::string_view::npos) {
    // An equals sign is a word, with or without space around it.
    std::size_t end = content[at] == '=' ? at + 1 : content.find_first_of(" \t\r=", at);
    end = std::min(end, content.size());
    words_.push_back({.text = content.substr(at, end - at), .line = number, .column = at + 1});
    at = end;
  }
  end_ = {.text = {}, .line = number, .column = words_.empty() ? 1 : words_.back().column + words_.back().text.size()};
}

const Word& Line::peek(std::size_t ahead) const { return ahead < words_.size() - next_ ? words_[next_ + ahead] : end_; }

const Word& Line::take() { return isAtEnd() ? end_ : words_[next_++]; }

bool Line::takeIf(std::string_view text) {
  if (peek().text != text) return false;
  ++next_;
  return true;
}

std::size_t Line::takeCount(std::string_view what, std::size_t maximum) { return takeCounts(what, 1, maximum).front(); }

std::vector<std::size_t> Line::takeCounts(std::string_view what, std::size_t number, std::size_t maximum) {
  const Word& word = peek();
  std::vector<std::size_t> counts;
  std::string_view rest = word.text;
  while (true) {
    const std::size_t cross = rest.find('x');
    std::size_t count = 0;
    if (!parse(rest.substr(0, cross), count) || counts.size() == number) expected(word, what);
    if (count == 0 || count > maximum)
      fail(word, fmt::format("{} is out of range: 1 to {} are possible", shown(rest.substr(0, cross)), maximum));
    counts.push_back(count);
    if (cross == std::string_view::npos) break;
    rest.remove_prefix(cross + 1);
  }
  if (counts.size() != number) expected(word, what);
  take();
  return counts;
}

float Line::takeNumber(std::string_view what) {
  float number = 0;
  if (!parse(peek().text, number) || !std::isfinite(number)) expected(peek(), what);
  take();
  return number;
}

std::string Line::takeName(std::string_view what) {
  const std::string_view text = peek().text;
  const auto isNamePart = [](char c) { return isLetter(c) || isDigit(c) || c == '_' || c == '-'; };
  if (text.empty() || !isLetter(text.front()) || !std::ranges::all_of(text, isNamePart)) {
    expected(peek(), fmt::format("{}, of letters, digits, _ and -", what));
  }
  return std::string(take().text);
}

void Line::expected(const Word& word, std::string_view what) const {
  fail(word, fmt::format("expected {}, but found {}", what,
                         word.text.empty() ? "the end of the line" : fmt::format("\"{}\"", shown(word.text))));
}

void Line::fail(const Word& word, std::string_view sentence) const {
  throw Error(ErrorCode::malformedFile, fmt::format("{}:{}:{}: {}.", title_, word.line, word.column, sentence));
}

}  // namespace metalloid::training
