#include "model/tokenizer/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>
#include <limits>
#include <new>

#include "base/check.h"
#include "model/tokenizer/utf8.h"

namespace tamis {
namespace {

constexpr size_t kMaxPatternBytes = size_t{256} << 10;
constexpr size_t kJitStackStart = size_t{32} << 10;
constexpr size_t kJitStackMax = size_t{64} << 20;
// The slowest rate at which a text may be split before its pattern is refused: two orders of
// magnitude below what the known patterns reach.
constexpr double kMinBytesPerSecond = 256 * 1024.0;
constexpr std::chrono::seconds kGraceTime{2};
constexpr unsigned kMatchesPerClockRead = 8;
constexpr unsigned kOptions = PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE;

std::string ErrorText(int code) {
  PCRE2_UCHAR buffer[160];
  pcre2_get_error_message(code, buffer, sizeof(buffer));
  return reinterpret_cast<const char*>(buffer);
}

}  // namespace

RegexScratch::RegexScratch(size_t text_bytes)
    : data_(pcre2_match_data_create(1, nullptr)), context_(pcre2_match_context_create(nullptr)) {
  deadline_ = std::chrono::steady_clock::now() + kGraceTime +
              std::chrono::milliseconds(
                  static_cast<int64_t>(1e3 * static_cast<double>(text_bytes) / kMinBytesPerSecond));
  stack_ = pcre2_jit_stack_create(kJitStackStart, kJitStackMax, nullptr);
  if (data_ == nullptr || context_ == nullptr || stack_ == nullptr) {
    pcre2_jit_stack_free(stack_);
    pcre2_match_context_free(context_);
    pcre2_match_data_free(data_);
    throw std::bad_alloc();
  }
  pcre2_jit_stack_assign(context_, nullptr, stack_);
  // A run of white space costs the known patterns one backtrack a character.
  const size_t limit = 100'000 + 2 * text_bytes;
  pcre2_set_match_limit(context_, static_cast<uint32_t>(std::min<size_t>(
                                      limit, std::numeric_limits<uint32_t>::max())));
}

RegexScratch::~RegexScratch() {
  pcre2_jit_stack_free(stack_);
  pcre2_match_context_free(context_);
  pcre2_match_data_free(data_);
}

void Regex::Release::operator()(pcre2_real_code_8* code) const { pcre2_code_free(code); }

Regex::Regex(std::string_view pattern) : Regex(pattern, kOptions, pattern) {}

Regex Regex::FromOniguruma(std::string_view pattern) {
  return Regex(TranslateOniguruma(pattern), kOptions, pattern);
}

Regex Regex::Literal(std::string_view text) { return Regex(text, PCRE2_UTF | PCRE2_LITERAL, text); }

Regex::Regex(std::string_view pattern, unsigned options, std::string_view source)
    : source_(Excerpt(source)) {
  Require(pattern.size() <= kMaxPatternBytes,
          "a pre-tokenizer pattern holds {} bytes; at most {} are compiled", pattern.size(),
          kMaxPatternBytes);
  int error = 0;
  PCRE2_SIZE offset = 0;
  std::unique_ptr<pcre2_compile_context, decltype(&pcre2_compile_context_free)> context(
      pcre2_compile_context_create(nullptr), pcre2_compile_context_free);
  if (context == nullptr) throw std::bad_alloc();
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  code_.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(), options,
                            &error, &offset, context.get()));
  if (code_ == nullptr) {
    Fail("the pre-tokenizer pattern '{}' does not compile: {}; mend tokenizer.json", source_,
         ErrorText(error));
  }
  // Where the system forbids executable memory this fails and pcre2_match interprets instead.
  pcre2_jit_compile(code_.get(), PCRE2_JIT_COMPLETE);
}

bool Regex::Find(std::string_view subject, size_t start, RegexScratch& scratch, size_t& begin,
                 size_t& end) const {
  if (++scratch.matches_ % kMatchesPerClockRead == 0 &&
      std::chrono::steady_clock::now() > scratch.deadline_) {
    Fail(
        "splitting the text takes too long: a pre-tokenizer pattern in tokenizer.json backtracks "
        "too much; mend it");
  }
  const int result =
      pcre2_match(code_.get(), reinterpret_cast<PCRE2_SPTR>(subject.data()), subject.size(), start,
                  PCRE2_NO_UTF_CHECK, scratch.data_, scratch.context_);
  if (result == PCRE2_ERROR_NOMATCH) return false;
  if (result < 0) {
    Fail("the pre-tokenizer pattern '{}' stops on this text: {}", source_, ErrorText(result));
  }
  const PCRE2_SIZE* range = pcre2_get_ovector_pointer(scratch.data_);
  begin = range[0];
  end = range[1];
  return true;
}

}  // namespace tamis
