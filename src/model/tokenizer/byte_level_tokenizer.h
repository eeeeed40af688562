// The tokenizer that every source builds: added tokens, normalizer, splits, byte-level BPE.
#ifndef TAMIS_MODEL_TOKENIZER_BYTE_LEVEL_TOKENIZER_H_
#define TAMIS_MODEL_TOKENIZER_BYTE_LEVEL_TOKENIZER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "model/tokenizer/added_tokens.h"
#include "model/tokenizer/bpe.h"
#include "model/tokenizer/pre_tokenizer.h"
#include "tamis/tokenizer.h"

namespace tamis {

/// Ids from here on are refused: no published vocabulary comes near.
inline constexpr int32_t kMaxVocabulary = 1 << 22;

/// What a tokenizer is made of, whatever it was read from.
struct TokenizerParts {
  Bpe bpe;
  std::vector<std::string> tokens;  ///< spellings by id; empty: no such token
  std::vector<AddedToken> added;
  bool nfc = false;
  PreTokenizer pre_tokenizer;
  std::string pre_tokenizer_name;  ///< for the summary
  std::vector<int32_t> prefix;     ///< ids that Encode puts first where add_bos
  int32_t bos_id = -1;
  std::vector<int32_t> stop_ids;  ///< may repeat ids
  std::string chat_template;      ///< as the checkpoint has it; empty: none

  /// Places a spelling. Throws Error where the id is out of range or taken by another token.
  void SetToken(int32_t id, std::string_view spelling);
  /// Requires that an id names a token; `what` says where it was read.
  void RequireToken(int64_t id, std::string_view what) const;
  /// Adds the special tokens that end a turn in the chat formats of the known families.
  void AddTurnEnds();
};

/// Throws Error where parts contradict one another.
std::unique_ptr<Tokenizer> MakeTokenizer(TokenizerParts parts);

}  // namespace tamis

#endif  // TAMIS_MODEL_TOKENIZER_BYTE_LEVEL_TOKENIZER_H_
