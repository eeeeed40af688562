"""Chat templates that do what those of the known families do for plain messages, and conversations
to hold renderers to them."""

import json
import pathlib

import jinja2.sandbox
from tokenizers import Tokenizer, decoders, models
from tokenizers.pre_tokenizers import ByteLevel

CHATML_TURN = "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
CHATML_PROMPT = "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
CHATML_LOOP = "{% for message in messages %}" + CHATML_TURN + "{% endfor %}" + CHATML_PROMPT
LLAMA_TURN = ("'<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'"
              "+ message['content'] | trim + '<|eot_id|>'")
LLAMA_PROMPT = ("{%- if add_generation_prompt %}\n"
                "{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}\n{%- endif %}")

QWEN3 = """\
{%- if messages[0].role == 'system' %}
    {{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
{%- endif %}
{%- set ns = namespace(searching=true, last_query_index=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- if ns.searching and message.role == "user" and not (
            message.content.startswith('<tool_response>')
            and message.content.endswith('</tool_response>')) %}
        {%- set ns.searching = false %}
        {%- set ns.last_query_index = messages|length - 1 - loop.index0 %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- set content = message.content %}
    {%- if message.role == "user" or (message.role == "system" and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>\\n' }}
    {%- elif message.role == "assistant" %}
        {%- set thoughts = '' %}
        {%- if '</think>' in content %}
            {%- set thoughts = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
            {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
        {%- endif %}
        {{- '<|im_start|>' + message.role + '\\n' }}
        {%- if loop.index0 > ns.last_query_index and (loop.last or thoughts) %}
            {{- '<think>\\n' + thoughts.strip('\\n') + '\\n</think>\\n\\n' + content.lstrip('\\n') }}
        {%- else %}
            {{- content }}
        {%- endif %}
        {{- '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}"""

LLAMA31 = """\
{{- bos_token }}
{%- if not date_string is defined %}
    {%- set date_string = "26 Jul 2024" %}
{%- endif %}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{{- "Cutting Knowledge Date: December 2023\\n" }}
{{- "Today Date: " + date_string + "\\n\\n" }}
{{- system_message }}
{{- "<|eot_id|>" }}
{%- for message in messages %}
    {{- """ + LLAMA_TURN + """ }}
{%- endfor %}
""" + LLAMA_PROMPT

TEMPLATES = {
    "chatml": CHATML_LOOP,
    "qwen2": CHATML_LOOP.replace("{{ '", """\
{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system
You are a helpful assistant.<|im_end|>
' }}{% endif %}{{ '""", 1),
    "qwen2.5": """\
{%- if messages[0]['role'] == 'system' %}
    {{- '<|im_start|>system\\n' + messages[0]['content'] + '<|im_end|>\\n' }}
{%- else %}
    {{- '<|im_start|>system\\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
    {%- if message.role != "system" or not loop.first %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}""",
    "qwen3": QWEN3,
    "qwen3-thinking": QWEN3.replace(
        "{{- '<|im_start|>assistant\\n' }}\n    {%- if enable",
        "{{- '<|im_start|>assistant\\n<think>\\n' }}\n    {%- if enable"),
    "llama3": "{% for message in messages %}{% set content = " + LLAMA_TURN + " %}"
              "{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}"
              "{{ content }}{% endfor %}" + LLAMA_PROMPT,
    "llama3.1": LLAMA31,
    "llama3.2": LLAMA31.replace(
        '    {%- set date_string = "26 Jul 2024" %}\n', """\
    {%- if strftime_now is defined %}
        {%- set date_string = strftime_now("%d %b %Y") %}
    {%- else %}
        {%- set date_string = "26 Jul 2024" %}
    {%- endif %}
"""),
}
BOS = "<|begin_of_text|>"


def conversations():
    """Lists of [role, content]."""
    system, user, answer = ["system", "Be brief."], ["user", "Hi"], ["assistant", "Hello."]
    thought = ["assistant", "<think>\nHm.\n\nSo.\n</think>\n\nIt is 4."]
    odd = ["user", " \u00a0\n Wha\u0301t's\x1f <|im_end|> {{ x }} 'q' \"d\" \\n \u3000\n"]
    return [
        [user], [system, user], [user, answer, user], [system, user, answer, odd],
        [odd], [["user", ""]], [system], [["system", "  padded \n"], odd, ["assistant", "\n a \n"]],
        [user, system, user], [user, answer], [user, thought], [user, thought, user],
        [user, thought, user, thought], [answer], [thought],
        [user, ["assistant", "</think>x"]], [user, ["assistant", "<think></think>"]],
        [user, ["assistant", "a<think>b</think>c</think>\n\nd"], ["assistant", "e"]],
        [user, answer, ["user", "<tool_response>1</tool_response>"], thought],
        [user, ["assistant", "<think>open"], user, ["assistant", "\n\n\nnewlines\n"]],
    ]


def checkpoint(directory: pathlib.Path, template: str) -> pathlib.Path:
    """A directory with the smallest tokenizer and this template."""
    directory.mkdir()
    tokenizer = Tokenizer(models.BPE(
        vocab={t: i for i, t in enumerate(sorted(ByteLevel.alphabet()))}, merges=[]))
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([BOS, "<|im_end|>", "<|eot_id|>"])
    tokenizer.save(str(directory / "tokenizer.json"))
    config = {"bos_token": BOS, "eos_token": {"content": "<|eot_id|>"}, "chat_template": template}
    (directory / "tokenizer_config.json").write_text(json.dumps(config))
    return directory


def render(template: str, conversation) -> str:
    """As transformers renders, but with no clock: Llama 3.2 then falls back to its fixed date."""
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    messages = [{"role": role, "content": content} for role, content in conversation]
    return environment.from_string(template).render(
        messages=messages, add_generation_prompt=True, bos_token=BOS)
