#include "model/tokenizer/chat_template.h"

#include <algorithm>
#include <array>

#include "base/check.h"
#include "model/tokenizer/utf8.h"

namespace tamis {
namespace {

/// A Jinja template in a form that does not depend on how it was typed: white space between the
/// parts of a statement dropped, strings in single quotes with their escapes resolved, trimming
/// marks dropped, m['key'] written m.key. Text outside statements stays.
std::string Canonical(std::string_view jinja) {
  std::string canonical;
  bool in_block = false;
  for (size_t i = 0; i < jinja.size(); ++i) {
    const std::string_view rest = jinja.substr(i);
    if (!in_block) {
      in_block = rest.starts_with("{{") || rest.starts_with("{%") || rest.starts_with("{#");
      canonical += rest[0];
      if (in_block) {
        canonical += rest[1];
        i += rest.size() > 2 && rest[2] == '-' ? 2 : 1;
      }
    } else if (rest[0] == '\'' || rest[0] == '"') {
      canonical += '\'';
      for (++i; i < jinja.size() && jinja[i] != rest[0]; ++i) {
        if (jinja[i] == '\\' && i + 1 < jinja.size()) {
          ++i;
          canonical += jinja[i] == 'n' ? '\n' : jinja[i];
        } else {
          canonical += jinja[i];
        }
      }
      canonical += '\'';
    } else if (rest.starts_with("-}}") || rest.starts_with("-%}") || rest.starts_with("-#}")) {
      continue;
    } else if (rest.starts_with("}}") || rest.starts_with("%}") || rest.starts_with("#}")) {
      canonical += rest.substr(0, 2);
      ++i;
      in_block = false;
    } else if (!IsWhiteSpace(static_cast<unsigned char>(rest[0]))) {
      canonical += rest[0];
    }
  }
  for (const std::string_view key : {"role", "content"}) {
    const std::string indexed = fmt::format("['{}']", key);
    for (size_t at = canonical.find(indexed); at != std::string::npos;
         at = canonical.find(indexed, at)) {
      canonical.replace(at, indexed.size(), fmt::format(".{}", key));
    }
  }
  return canonical;
}

bool Has(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

/// The literal between `before` and `after`, at its first place where it is one literal.
std::optional<std::string> LiteralBetween(std::string_view text, std::string_view before,
                                          std::string_view after) {
  for (size_t at = text.find(before); at != std::string_view::npos;
       at = text.find(before, at + 1)) {
    const size_t begin = at + before.size();
    const size_t end = text.find(after, begin);
    if (end == std::string_view::npos) return std::nullopt;
    const std::string_view literal = text.substr(begin, end - begin);
    if (!Has(literal, "'")) return std::string(literal);
  }
  return std::nullopt;
}

/// Python's str.strip(): white space and the separators U+001C to U+001F.
std::string_view Strip(std::string_view text) {
  const auto is_space = [](char32_t c) { return IsWhiteSpace(c) || (c >= 0x1C && c <= 0x1F); };
  while (!text.empty()) {
    const Utf8Step step = DecodeUtf8(text);
    if (!is_space(step.character)) break;
    text.remove_prefix(step.bytes);
  }
  while (!text.empty()) {
    size_t begin = text.size() - 1;
    while (begin > 0 && (static_cast<uint8_t>(text[begin]) & 0xC0) == 0x80) --begin;
    if (!is_space(DecodeUtf8(text.substr(begin)).character)) break;
    text.remove_suffix(text.size() - begin);
  }
  return text;
}

std::string_view StripNewlines(std::string_view text, bool front, bool back) {
  while (front && text.starts_with('\n')) text.remove_prefix(1);
  while (back && text.ends_with('\n')) text.remove_suffix(1);
  return text;
}

void AppendChatMl(const ChatMessage& message, std::string& text) {
  text += fmt::format("<|im_start|>{}\n{}<|im_end|>\n", message.role, message.content);
}

}  // namespace

std::optional<ChatTemplate> ChatTemplate::Detect(std::string_view jinja) {
  const std::string canonical = Canonical(jinja);
  ChatTemplate found;
  if (Has(canonical, "'<|im_start|>'+message.role+'\n'+") &&
      Has(canonical, "'<|im_start|>assistant\n")) {
    if (Has(canonical, "last_query_index") && Has(canonical, "</think>")) {
      found.family_ = Family::kQwen3;
      found.opens_thinking_ = Has(canonical, "'<|im_start|>assistant\n<think>\n'");
      return found;
    }
    // What plain ChatML does not do: trimming, thinking, images, other tokens, dates.
    for (const std::string_view sign :
         {"|trim", ".strip(", "<think>", "bos_token", "eos_token", "strftime", "image",
          "<|im_sep|>", "message.content[", "message.contentisstring"}) {
      if (Has(canonical, sign)) return std::nullopt;
    }
    found.default_system_ = LiteralBetween(canonical, "'<|im_start|>system\n", "<|im_end|>\n'");
    return found;
  }
  if (Has(canonical,
          "'<|start_header_id|>'+message.role+'<|end_header_id|>\n\n'+"
          "message.content|trim+'<|eot_id|>'") &&
      Has(canonical, "'<|start_header_id|>assistant<|end_header_id|>\n\n'") &&
      Has(canonical, "bos_token")) {
    if (!Has(canonical, "Cutting Knowledge Date")) {
      if (Has(canonical, "tools") || Has(canonical, "strftime")) return std::nullopt;
      found.family_ = Family::kLlama3;
      return found;
    }
    const auto date = LiteralBetween(canonical, "date_string='", "'");
    if (!date || !Has(canonical, "'Cutting Knowledge Date: December 2023\n'") ||
        !Has(canonical, "'Today Date: '+date_string+'\n\n'")) {
      return std::nullopt;
    }
    found.family_ = Family::kLlama31;
    found.date_ = *date;
    return found;
  }
  return std::nullopt;
}

std::string_view ChatTemplate::name() const {
  switch (family_) {
    case Family::kChatMl:
      return default_system_ ? "ChatML with a default system turn" : "ChatML";
    case Family::kQwen3:
      return "Qwen3";
    case Family::kLlama3:
      return "Llama 3";
    case Family::kLlama31:
      return "Llama 3.1";
  }
  return "?";
}

std::string ChatTemplate::Render(std::span<const ChatMessage> messages,
                                 std::string_view bos) const {
  Require(!messages.empty(), "the conversation is empty; give at least one message");
  for (const ChatMessage& message : messages) {
    Require(message.role == "system" || message.role == "user" || message.role == "assistant",
            "unknown role '{}'; use system, user or assistant", Excerpt(message.role));
  }
  switch (family_) {
    case Family::kChatMl:
      return RenderChatMl(messages);
    case Family::kQwen3:
      return RenderQwen3(messages);
    case Family::kLlama3:
    case Family::kLlama31:
      return RenderLlama3(messages, bos);
  }
  return {};
}

std::string ChatTemplate::RenderChatMl(std::span<const ChatMessage> messages) const {
  std::string text;
  if (default_system_ && messages[0].role != "system") {
    AppendChatMl({"system", *default_system_}, text);
  }
  for (const ChatMessage& message : messages) AppendChatMl(message, text);
  return text + "<|im_start|>assistant\n";
}

std::string ChatTemplate::RenderQwen3(std::span<const ChatMessage> messages) const {
  // Thoughts are kept only behind the last question; without one, everywhere.
  size_t last_query = messages.size() - 1;
  for (size_t i = messages.size(); i-- > 0;) {
    const std::string& content = messages[i].content;
    const bool tool_response =
        content.starts_with("<tool_response>") && content.ends_with("</tool_response>");
    if (messages[i].role == "user" && !tool_response) {
      last_query = i;
      break;
    }
  }
  constexpr std::string_view kOpen = "<think>";
  constexpr std::string_view kClose = "</think>";
  std::string text;
  for (size_t i = 0; i < messages.size(); ++i) {
    if (messages[i].role != "assistant") {
      AppendChatMl(messages[i], text);
      continue;
    }
    std::string_view content = messages[i].content;
    std::string_view reasoning;
    if (const size_t close = content.find(kClose); close != std::string_view::npos) {
      reasoning = StripNewlines(content.substr(0, close), false, true);
      if (const size_t open = reasoning.rfind(kOpen); open != std::string_view::npos) {
        reasoning.remove_prefix(open + kOpen.size());
      }
      reasoning = StripNewlines(reasoning, true, false);
      content = StripNewlines(content.substr(content.rfind(kClose) + kClose.size()), true, false);
    }
    text += "<|im_start|>assistant\n";
    const bool last = i + 1 == messages.size();
    if (i > last_query && (last || !reasoning.empty())) {
      text += fmt::format("<think>\n{}\n</think>\n\n{}", StripNewlines(reasoning, true, true),
                          StripNewlines(content, true, false));
    } else {
      text += content;
    }
    text += "<|im_end|>\n";
  }
  text += "<|im_start|>assistant\n";
  if (opens_thinking_) text += "<think>\n";
  return text;
}

std::string ChatTemplate::RenderLlama3(std::span<const ChatMessage> messages,
                                       std::string_view bos) const {
  constexpr std::string_view kTurn = "<|start_header_id|>{}<|end_header_id|>\n\n{}<|eot_id|>";
  std::string text(bos);
  if (family_ == Family::kLlama31) {
    std::string_view system;
    if (messages[0].role == "system") {
      system = Strip(messages[0].content);
      messages = messages.subspan(1);
    }
    text += fmt::format(
        kTurn, "system",
        fmt::format("Cutting Knowledge Date: December 2023\nToday Date: {}\n\n{}", date_, system));
  }
  for (const ChatMessage& message : messages) {
    text += fmt::format(kTurn, message.role, Strip(message.content));
  }
  return text + "<|start_header_id|>assistant<|end_header_id|>\n\n";
}

}  // namespace tamis
