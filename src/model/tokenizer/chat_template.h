// Chat templates of the known families, recognised by what their Jinja text does.
#ifndef TAMIS_MODEL_TOKENIZER_CHAT_TEMPLATE_H_
#define TAMIS_MODEL_TOKENIZER_CHAT_TEMPLATE_H_

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "tamis/tokenizer.h"

namespace tamis {

/// Renders conversations as a checkpoint's Jinja template does for plain messages: without tools,
/// with the generation prompt. Immutable.
class ChatTemplate {
 public:
  static constexpr std::string_view kKnown = "ChatML (SmolLM2, Qwen2, Qwen2.5), Qwen3, Llama 3";

  /// Nothing where the template is of no known family or does more than the families do.
  static std::optional<ChatTemplate> Detect(std::string_view jinja);

  /// `bos`: the text of the beginning-of-sequence token. Throws Error for an empty conversation or
  /// a role other than system, user and assistant.
  std::string Render(std::span<const ChatMessage> messages, std::string_view bos) const;

  std::string_view name() const;

 private:
  enum class Family : uint8_t { kChatMl, kQwen3, kLlama3, kLlama31 };

  std::string RenderChatMl(std::span<const ChatMessage> messages) const;
  std::string RenderQwen3(std::span<const ChatMessage> messages) const;
  std::string RenderLlama3(std::span<const ChatMessage> messages, std::string_view bos) const;

  Family family_ = Family::kChatMl;
  std::optional<std::string> default_system_;  // ChatML: the turn put before all others
  bool opens_thinking_ = false;                // Qwen3: the generation prompt ends with <think>
  std::string date_;                           // Llama 3.1 and 3.2: what "Today Date" says
};

}  // namespace tamis

#endif  // TAMIS_MODEL_TOKENIZER_CHAT_TEMPLATE_H_
