#include "model/tokenizer/chat_template.h"

#include "model/tokenizer/test_tokenizer.h"

namespace tamis {
namespace {

using testing::ExpectError;
using Messages = std::vector<ChatMessage>;

const std::string kTurn =
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}";
const std::string kLoop = "{% for message in messages %}" + kTurn + "{% endfor %}";
const std::string kPrompt =
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";
const std::string kLlamaTurn =
    "{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'"
    " + message['content'] | trim + '<|eot_id|>' }}";
const std::string kLlamaPrompt = "{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}";

std::string Render(const std::string& jinja, const Messages& messages) {
  const auto found = ChatTemplate::Detect(jinja);
  return found ? found->Render(messages, "<bos>") : "unknown";
}

TEST(ChatTemplate, ChatMl) {
  EXPECT_EQ(Render(kLoop + kPrompt, {{"user", "Hi"}, {"assistant", " a "}, {"user", "b"}}),
            "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n a <|im_end|>\n"
            "<|im_start|>user\nb<|im_end|>\n<|im_start|>assistant\n");
  // However it is typed.
  std::string typed = "{%- for message in messages -%}\n  " + kTurn + "\n{%- endfor -%}" + kPrompt;
  for (char& c : typed) c = c == '\'' ? '"' : c;
  EXPECT_EQ(Render(typed, {{"user", "Hi"}}),
            "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n");
}

TEST(ChatTemplate, DefaultSystemTurn) {
  for (const char* newline : {"\n", "\\n"}) {
    const std::string jinja = "{% if messages[0]['role'] != 'system' %}{{ '<|im_start|>system" +
                              std::string(newline) + "Be \\'kind\\'.<|im_end|>" + newline +
                              "' }}{% endif %}" + kLoop + kPrompt;
    SCOPED_TRACE(jinja);
    // An apostrophe cannot be told from the end of the literal: no default rather than half of one.
    EXPECT_EQ(Render(jinja, {{"system", "s"}}),
              "<|im_start|>system\ns<|im_end|>\n<|im_start|>assistant\n");
  }
  const std::string jinja =
      "{{ '<|im_start|>system\\nYou are kind.<|im_end|>\\n' }}" + kLoop + kPrompt;
  EXPECT_EQ(Render(jinja, {{"user", "Hi"}}),
            "<|im_start|>system\nYou are kind.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
            "<|im_start|>assistant\n");
  EXPECT_EQ(Render(jinja, {{"system", ""}, {"user", "Hi"}}),
            "<|im_start|>system\n<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
            "<|im_start|>assistant\n");
}

TEST(ChatTemplate, Qwen3DropsOldThoughts) {
  const std::string jinja = kLoop + "{{ last_query_index }}{{ '</think>' }}" + kPrompt;
  EXPECT_EQ(Render(jinja, {{"user", "q"},
                           {"assistant", "<think>\nold\n</think>\n\na"},
                           {"user", "r"},
                           {"assistant", "<think>\nnew\n</think>\n\nb"}}),
            "<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\na<|im_end|>\n"
            "<|im_start|>user\nr<|im_end|>\n"
            "<|im_start|>assistant\n<think>\nnew\n</think>\n\nb<|im_end|>\n"
            "<|im_start|>assistant\n");
  const std::string thinking = jinja + "{{ '<|im_start|>assistant\\n<think>\\n' }}";
  EXPECT_EQ(Render(thinking, {{"user", "q"}}),
            "<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\n<think>\n");
}

TEST(ChatTemplate, Llama3) {
  const std::string jinja = "{{ bos_token }}" + kLlamaTurn + kLlamaPrompt;
  EXPECT_EQ(Render(jinja, {{"system", " s\n"}, {"user", "\u3000u\x1f"}}),
            "<bos><|start_header_id|>system<|end_header_id|>\n\ns<|eot_id|>"
            "<|start_header_id|>user<|end_header_id|>\n\nu<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\n");
}

TEST(ChatTemplate, Llama31WritesDates) {
  const std::string jinja =
      "{{- bos_token }}{%- set date_string = strftime_now('%d') %}"
      "{%- set date_string = \"26 Jul 2024\" %}"
      "{{- \"Cutting Knowledge Date: December 2023\\n\" }}"
      "{{- \"Today Date: \" + date_string + \"\\n\\n\" }}" +
      kLlamaTurn + kLlamaPrompt;
  const std::string head =
      "<bos><|start_header_id|>system<|end_header_id|>\n\nCutting Knowledge Date: December 2023\n"
      "Today Date: 26 Jul 2024\n\n";
  const std::string tail =
      "<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nu<|eot_id|>"
      "<|start_header_id|>assistant<|end_header_id|>\n\n";
  EXPECT_EQ(Render(jinja, {{"user", "u"}}), head + tail);
  EXPECT_EQ(Render(jinja, {{"system", " s "}, {"user", "u"}}), head + "s" + tail);
}

TEST(ChatTemplate, UnknownIsNotGuessed) {
  for (const std::string& jinja :
       {std::string(), std::string("{{ '[INST] ' + message['content'] + ' [/INST]' }}"),
        "{{ bos_token }}" + kLoop + kPrompt, kLoop,
        kLoop + "{{ message['content'] | trim }}" + kPrompt, kLlamaTurn + kLlamaPrompt,
        "{{ bos_token }}{% if tools %}" + kLlamaTurn + kLlamaPrompt,
        "{{ bos_token }}Cutting Knowledge Date: March 2025" + kLlamaTurn + kLlamaPrompt,
        std::string("{{"), std::string("{{ '"), std::string("{% '\\")}) {
    EXPECT_FALSE(ChatTemplate::Detect(jinja)) << jinja;
  }
}

TEST(ChatTemplate, RefusesConversationsThatAreNone) {
  ExpectError([] { Render(kLoop + kPrompt, {}); }, "empty");
  ExpectError([] { Render(kLoop + kPrompt, {{"tool\n", "x"}}); }, "role 'tool\\n'");
}

}  // namespace
}  // namespace tamis
