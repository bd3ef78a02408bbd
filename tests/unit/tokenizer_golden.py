#!/usr/bin/env python3
"""Writes tokenizer_golden.tsv: ids by Hugging Face's `tokenizers`, an implementation of its own.

usage: tokenizer_golden.py FOLDER >tokenizer_golden.tsv     FOLDER holds Llama 2's tokenizer.model
needs: pip install sentencepiece tokenizers

The tokenizer is set up as in the tokenizer.json that TinyLlama and Llama 2 publish: every stretch of
text between two special tokens gets a leading space. `text` rows: text, ids; they are compared with
the Python package sentencepiece as well. `prompt` rows: question, answer, ids of the whole chat
prompt, which is given to the tokenizer as one string. Tab, newline and backslash are escaped.
"""
import sys

import sentencepiece
from tokenizers import AddedToken, Tokenizer, models, normalizers

ADDED = ["<protein>", "<bop>", "<eop>", "[INST]", "[/INST]", "<<SYS>>", "<</SYS>>"]
SYSTEM = "You are a biologist's assistant."
TEXTS = [
    "Catalyzes the reversible phosphorolysis of pyrimidine nucleosides.",
    "a", " ", "  ", "\n", "\n\n", " leading", "trailing ", "two  spaces   three",
    "line one\nline two\n\n- item\ttab", "1234567890 3.14e-10 EC 2.7.11.1; GO:0005737",
    "MKTAYIAKQRQISFVKSHFSRQLEERLGLIEVQ", "α-helix, β-sheet, 5′-phosphate, Å, µM, ≥ 30 °C",
    "日本語のタンパク質", "🧬 emoji 👩‍🔬 and \U0001d6fc", "naïve café — “quoted”…", "\u200b\ufeff\u00a0",
    "don't; it's (a) [b] {c} <d> \\e/", "x" * 100, "ab " * 40,
]
PROMPTS = [
    ("What does <protein> do?", "It binds DNA."),
    ("<protein>\nDescribe the function of this protein.",
     "Catalyzes the hydrolysis of ATP.\nBinds Mg(2+)."),
    ("<protein>", ""),
    ("Is it in the nucleus?\n<protein>", "No."),
    ("  Spaces  around  <protein>  here  ", "  and here  "),
    ("Où agit <protein> ? 🧬", "Dans le noyau — β-sheet…"),
]


def escape(text):
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace("\t", "\\t")


def show(*columns, ids):
    print("\t".join([columns[0], *map(escape, columns[1:]), " ".join(map(str, ids))]))


def merges_of(sp):
    """Every way to join two pieces into a third, best score first, as BPE ranks them."""
    rank = {sp.id_to_piece(i): i for i in range(sp.get_piece_size())}
    found = []
    for piece, i in rank.items():
        if not (sp.is_control(i) or sp.is_byte(i) or sp.is_unknown(i)):
            pairs = [(piece[:k], piece[k:]) for k in range(1, len(piece))]
            found += [(-sp.get_score(i), rank[a], rank[b], a, b) for a, b in pairs
                      if a in rank and b in rank]
    return rank, [(a, b) for _, _, _, a, b in sorted(found)]


reference = sentencepiece.SentencePieceProcessor(model_file=sys.argv[1] + "/tokenizer.model")
vocabulary, merges = merges_of(reference)
hf = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
hf.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
hf.add_special_tokens([AddedToken(name, normalized=False) for name in ("<s>", "</s>")])
hf.add_special_tokens([AddedToken(name, normalized=False) for name in ADDED])
assert [hf.token_to_id(name) for name in ADDED] == list(range(32000, 32007))

for text in TEXTS:
    ids = hf.encode(text, add_special_tokens=False).ids
    assert ids == reference.encode(text), text
    show("text", text, ids=ids)
for question, answer in PROMPTS:
    wrapped = question.replace("<protein>", "<bop><protein><eop>")
    chat = f"<s>[INST] <<SYS>>\n{SYSTEM}\n<</SYS>>\n\n{wrapped} [/INST] {answer} </s>"
    show("prompt", question, answer, ids=hf.encode(chat, add_special_tokens=False).ids)
