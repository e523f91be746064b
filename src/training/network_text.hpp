#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace metalloid::training {

/// A word of a description and where it stands, both counted from 1.
struct Word {
  std::string_view text;  ///< Empty: the end of the line.
  std::size_t line = 0;
  std::size_t column = 0;
};

/// The words of one line, without comments, taken one after another.
class Line {
 public:
  Line(std::string_view text, std::size_t number, std::string_view title);

  bool isAtEnd() const { return next_ == words_.size(); }
  /// The word to come; one without text at the end of the line.
  const Word& peek(std::size_t ahead = 0) const;
  const Word& take();
  /// Takes the word if it is this one.
  bool takeIf(std::string_view text);

  /// Numbers, and several with an x between them. @throws Error for what is none or out of range.
  std::size_t takeCount(std::string_view what, std::size_t maximum);
  std::vector<std::size_t> takeCounts(std::string_view what, std::size_t number, std::size_t maximum);
  float takeNumber(std::string_view what);
  std::string takeName(std::string_view what);

  /// @throws Error (malformedFile): "TITLE:LINE:COLUMN: expected WHAT, but found WORD."
  [[noreturn]] void expected(const Word& word, std::string_view what) const;
  /// @throws Error (malformedFile): "TITLE:LINE:COLUMN: SENTENCE."
  [[noreturn]] void fail(const Word& word, std::string_view sentence) const;

 private:
  std::string_view title_;
  std::vector<Word> words_;
  Word end_;
  std::size_t next_ = 0;
};

}  // namespace metalloid::training
