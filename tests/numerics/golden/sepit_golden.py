#!/usr/bin/env python3
"""Writes sepit.golden: what an implementation of SEPIT in plain PyTorch, made from the method's
description alone, says about two small chunks: hidden states, losses and gradients, in fp64.

    python3 tests/numerics/golden/sepit_golden.py                        (torch 2.13.0, CPU)
    python3 tests/numerics/golden/sepit_golden.py --check-transformers   (transformers 5.23.0 too)

One prompt at a time, nothing packed, nothing shared between prompts, gradients by autograd. With
--check-transformers nothing is written: the same weights go into Hugging Face's EsmModel and
LlamaForCausalLM, and the differences are printed. Tests need neither.

Lines of the file: "input NAME COUNT VALUE…", and
"array NAME ELEMENTS NORM SUM MOMENT STRIDE VALUE…", where the values are elements 0, STRIDE,
2·STRIDE … of the array in row-major order and the moment is Σ element·number(NAME, i).
"""
import math
import os
import sys

import torch
import torch.nn.functional as F

WORD = (1 << 64) - 1
KERNELS = 128
CLS, EOS, MASK = 0, 2, 32
NAN = float('nan')


# ---- numbers that C can make again: multiples of 2^-16 in [0, 1), from a name and an index ----

def numbers(name, n):
    seed = 0xCBF29CE484222325  # FNV-1a
    for byte in name.encode():
        seed = (seed ^ byte) * 0x100000001B3 & WORD
    out = []
    for i in range(n):  # SplitMix64
        z = seed + (i + 1) * 0x9E3779B97F4A7C15 & WORD
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & WORD
        z = (z ^ z >> 27) * 0x94D049BB133111EB & WORD
        out.append(((z ^ z >> 31) >> 48) / 65536)
    return torch.tensor(out, dtype=torch.float64)


def weight(name, shape):
    """Exact in fp32. Norms are 1 ± 0.25, biases ± 0.25, matrices ± 0.5; kernels sit at 0 … 16 Å and
    are 0.5 … 4.5 Å wide, every fifth with a negative s."""
    u = numbers(name, math.prod(shape)).reshape(shape)
    if name.endswith('gbf.means'):
        return 16 * u
    if name.endswith('gbf.stds'):
        return (0.5 + 4 * u) * torch.tensor([-1.0 if i % 5 == 0 else 1.0 for i in range(KERNELS)])
    if name.endswith('.bias'):
        return 0.5 * u - 0.25
    return 0.75 + 0.5 * u if len(shape) == 1 else u - 0.5


# ---- sizes and weights ----

class Sizes:
    def __init__(self, layers, D, H, ffn, K=0, V=33, eps=1e-5, base=10000.0, tied=False):
        self.layers, self.D, self.H, self.ffn, self.K, self.V = layers, D, H, ffn, K, V
        self.eps, self.base, self.tied = eps, base, tied


def shapes(esm, llm):
    """Every tensor of the model: name → shape."""
    s = {}

    def linear(name, n, k):
        s[name + '.weight'], s[name + '.bias'] = (n, k), (n,)

    structure = 'protein_model.structure_bias.'
    s[structure + 'gbf.means'] = s[structure + 'gbf.stds'] = (KERNELS,)
    linear(structure + 'gbf_proj.layer1', KERNELS, KERNELS)
    linear(structure + 'gbf_proj.layer2', esm.H, KERNELS)
    linear(structure + 'edge_proj', esm.D, KERNELS)
    s['protein_model.embeddings.word_embeddings.weight'] = (33, esm.D)
    for i in range(esm.layers):
        at = f'protein_model.encoder.layer.{i}.'
        for norm in ('attention.LayerNorm', 'LayerNorm'):
            s[f'{at}{norm}.weight'] = s[f'{at}{norm}.bias'] = (esm.D,)
        for part in ('self.query', 'self.key', 'self.value', 'output.dense'):
            linear(f'{at}attention.{part}', esm.D, esm.D)
        linear(at + 'intermediate.dense', esm.ffn, esm.D)
        linear(at + 'output.dense', esm.D, esm.ffn)
    for part in ('weight', 'bias'):
        s['protein_model.encoder.emb_layer_norm_after.' + part] = (esm.D,)
    linear('multi_modal_projector.linear_1', llm.D, esm.D)
    linear('multi_modal_projector.linear_2', llm.D, llm.D)
    s['text_model.model.embed_tokens.weight'] = (llm.V, llm.D)
    keys = llm.D // llm.H * llm.K
    for i in range(llm.layers):
        at = f'text_model.model.layers.{i}.'
        s[at + 'input_layernorm.weight'] = s[at + 'post_attention_layernorm.weight'] = (llm.D,)
        for part, rows in (('q', llm.D), ('k', keys), ('v', keys), ('o', llm.D)):
            s[f'{at}self_attn.{part}_proj.weight'] = (rows, llm.D)
        s[at + 'mlp.gate_proj.weight'] = s[at + 'mlp.up_proj.weight'] = (llm.ffn, llm.D)
        s[at + 'mlp.down_proj.weight'] = (llm.D, llm.ffn)
    s['text_model.model.norm.weight'] = (llm.D,)
    if not llm.tied:
        s['text_model.lm_head.weight'] = (llm.V, llm.D)
    return s


# ---- the model ----

def rotated(x, base):
    """x [heads, length, d]: pairs (i, i + d/2) as complex numbers, turned by position·base^(−2i/d).
    """
    length, d = x.shape[1:]
    rate = base ** (-2 * torch.arange(d // 2, dtype=torch.float64) / d)
    angle = torch.arange(length, dtype=torch.float64)[:, None] * rate
    turned = torch.complex(x[..., : d // 2], x[..., d // 2:]) * torch.exp(1j * angle)
    return torch.cat([turned.real, turned.imag], -1)


class Model:
    def __init__(self, esm, llm):
        self.esm, self.llm = esm, llm
        self.w = {n: weight(n, s).requires_grad_() for n, s in shapes(esm, llm).items()}

    def linear(self, name, x):
        return x @ self.w[name + '.weight'].T + self.w[name + '.bias']

    def structure(self, protein):
        """Bias [H, L, L] and hidden bias [L, D] of a protein with structure."""
        at, r = 'protein_model.structure_bias.', protein.coord
        L = len(r)
        bias, hidden = torch.zeros(self.esm.H, L, L), torch.zeros(L, self.esm.D)
        there = [i for i in range(L) if not r[i].isnan().any()]
        for i in there:
            total = 0
            for j in there:
                sigma = self.w[at + 'gbf.stds'].abs() + 1e-3
                z = ((r[i] - r[j]).norm() - self.w[at + 'gbf.means']) / sigma
                psi = torch.exp(-0.5 * z * z) / (math.sqrt(2 * math.pi) * sigma)
                map1 = F.gelu(self.linear(at + 'gbf_proj.layer1', psi))
                bias = bias.index_put((torch.arange(self.esm.H), torch.tensor(i), torch.tensor(j)),
                                      self.linear(at + 'gbf_proj.layer2', map1))
                total = total + psi
            row = 0.01 * self.linear(at + 'edge_proj', total)
            hidden = hidden.index_put((torch.tensor(i),), row)
        return bias, hidden

    def structure_padded(self, protein):
        """The same with zeros for <cls> and <eos>; zeros alone where structure is off."""
        L, D = len(protein.token) - 2, self.esm.D
        if not protein.structure:
            return torch.zeros(self.esm.H, L + 2, L + 2), torch.zeros(L + 2, D)
        bias, hidden = self.structure(protein)
        return F.pad(bias, (1, 1, 1, 1)), F.pad(hidden, (0, 0, 1, 1))

    def embed_protein(self, protein, hidden):
        masked = protein.token == MASK
        x = self.w['protein_model.embeddings.word_embeddings.weight'][protein.token]
        x = torch.where(masked[:, None], 0.0, x)
        return x * ((1 - 0.15 * 0.8) / (1 - masked.sum().item() / len(masked))) + hidden

    def encoder_block(self, i, x, bias):
        c, at = self.esm, f'protein_model.encoder.layer.{i}.'

        def norm(name):
            return F.layer_norm(x, (c.D,), self.w[at + name + '.weight'],
                                self.w[at + name + '.bias'], c.eps)

        def heads(part):
            return self.linear(f'{at}attention.self.{part}', y).reshape(-1, c.H, c.D // c.H) \
                .transpose(0, 1)

        y = norm('attention.LayerNorm')
        q, k = rotated(heads('query') * (c.D // c.H) ** -0.5, c.base), rotated(heads('key'), c.base)
        p = torch.softmax(q @ k.transpose(1, 2) + bias, -1)
        mixed = (p @ heads('value')).transpose(0, 1).reshape(-1, c.D)
        x = x + self.linear(at + 'attention.output.dense', mixed)
        y = F.gelu(self.linear(at + 'intermediate.dense', norm('LayerNorm')))
        return x + self.linear(at + 'output.dense', y)

    def encode(self, protein):
        """Input of the last block [L + 2, D]."""
        bias, hidden = self.structure_padded(protein)
        x = self.embed_protein(protein, hidden)
        for i in range(self.esm.layers - 1):
            x = self.encoder_block(i, x, bias)
        return x

    def project(self, x):
        x = F.gelu(self.linear('multi_modal_projector.linear_1', x))
        return self.linear('multi_modal_projector.linear_2', x)

    def merge(self, prompt, vectors):
        table = self.w['text_model.model.embed_tokens.weight']
        rows = [vectors if t < 0 else table[t][None] for t in prompt.token]
        return torch.cat(rows)

    def rms_norm(self, name, x):
        return self.w[name + '.weight'] * x / (x.square().mean(-1, True) + self.llm.eps).sqrt()

    def llm_block(self, i, x):
        c, at, T = self.llm, f'text_model.model.layers.{i}.', len(x)
        d = c.D // c.H

        def product(part, y):
            return y @ self.w[f'{at}{part}_proj.weight'].T

        y = self.rms_norm(at + 'input_layernorm', x)
        q = rotated(product('self_attn.q', y).reshape(T, c.H, d).transpose(0, 1), c.base)
        k = rotated(product('self_attn.k', y).reshape(T, c.K, d).transpose(0, 1), c.base)
        v = product('self_attn.v', y).reshape(T, c.K, d).transpose(0, 1)
        future = torch.ones(T, T).triu(1).bool()
        mixed = []
        for h in range(c.H):
            shared = h * c.K // c.H
            logits = (q[h] @ k[shared].T / math.sqrt(d)).masked_fill(future, -math.inf)
            mixed.append(torch.softmax(logits, -1) @ v[shared])
        x = x + product('self_attn.o', torch.cat(mixed, 1))
        y = self.rms_norm(at + 'post_attention_layernorm', x)
        return x + product('mlp.down', F.silu(product('mlp.gate', y)) * product('mlp.up', y))

    def read(self, x):
        """Hidden states after the final norm, and logits."""
        for i in range(self.llm.layers):
            x = self.llm_block(i, x)
        x = self.rms_norm('text_model.model.norm', x)
        head = 'text_model.model.embed_tokens' if self.llm.tied else 'text_model.lm_head'
        return x, x @ self.w[head + '.weight'].T

    def gradients(self, loss):
        names = list(self.w)
        found = torch.autograd.grad(loss, [self.w[n] for n in names], allow_unused=True)
        return {n: torch.zeros_like(self.w[n]) if g is None else g for n, g in zip(names, found)}


def supervised(prompt, rows):
    """Places and their targets: the last `answer` tokens, each predicted one place before it. All
    of them come after the protein, whose `rows` vectors stand for one entry of token."""
    n = len(prompt.token)
    added = rows - 1 if -1 in prompt.token else 0
    places = range(n - prompt.answer, n)
    return [added + i - 1 for i in places], [prompt.token[i] for i in places]


# ---- the two chunks ----

class Protein:
    """Residues as ids, every coordinate a multiple of 1/64 Å."""

    def __init__(self, name, L, structure, missing=(), masked=()):
        inner = [MASK if i in masked else 4 + int(20 * u)
                 for i, u in enumerate(numbers(name + '.token', L))]
        self.token = torch.tensor([CLS] + inner + [EOS])
        step = (numbers(name + '.step', 3 * L).reshape(L, 3) * 448).round() / 64 - 3.5
        self.coord = step.cumsum(0)
        for i, axes in missing:
            self.coord[i, axes] = NAN
        self.structure = structure


class Prompt:
    """A −1 in token stands for all vectors of the protein (−1: none)."""

    def __init__(self, name, V, protein, before, after, answer):
        words = [int(V * u) for u in numbers(name + '.token', before + after)]
        self.token = words[:before] + ([-1] if protein >= 0 else []) + words[before:]
        self.protein, self.answer = protein, answer


ALL, X, Z = [0, 1, 2], [0], [2]
CASES = {
    # An untied head, grouped queries; one residue without a coordinate; a protein whose structure
    # is off though it has coordinates; two prompts about one protein.
    'untied': (Sizes(3, 24, 4, 40), Sizes(2, 16, 4, 24, K=2, V=40),
               [Protein('untied.0', 7, True, missing=[(2, ALL)]), Protein('untied.1', 12, False)],
               lambda V: [Prompt('untied.0', V, 0, 3, 7, 3), Prompt('untied.1', V, 1, 2, 9, 5),
                          Prompt('untied.2', V, 0, 4, 8, 4)]),
    # A tied head, another base and epsilon; masked residues, with structure (one lacks x only, one
    # z only) and without; a protein of one residue; a prompt without a protein.
    'tied': (Sizes(3, 16, 2, 32), Sizes(2, 24, 6, 32, K=3, V=44, eps=1e-3, base=500.0, tied=True),
             [Protein('tied.0', 14, True, missing=[(3, X), (9, Z)], masked=(2, 3, 7, 13)),
              Protein('tied.1', 1, True), Protein('tied.2', 9, False, masked=(0, 4))],
             lambda V: [Prompt('tied.0', V, 0, 2, 8, 4), Prompt('tied.1', V, 1, 5, 4, 2),
                        Prompt('tied.2', V, 2, 1, 6, 6), Prompt('tied.3', V, -1, 9, 3, 7)]),
}


# ---- the file ----

def text(values):
    return ''.join(f' {float(v):.17g}' for v in values)


def put_input(out, name, values):
    out.write(f'input {name} {len(values)}{text(values)}\n')


def put_array(out, name, x, kept):
    x = x.detach().reshape(-1)
    stride = max(1, len(x) // kept | 1)  # odd, so that it walks through the columns
    facts = [x.norm(), x.sum(), (x * numbers(name, len(x))).sum()]
    out.write(f'array {name} {len(x)}{text(facts)} {stride}{text(x[::stride])}\n')


def put_sizes(out, case, esm, llm):
    put_input(out, case + '/encoder', [esm.layers, esm.D, esm.H, esm.ffn])
    put_input(out, case + '/llm', [llm.layers, llm.D, llm.H, llm.K, llm.ffn, llm.V, llm.eps,
                                   llm.base, llm.tied])


def put_case(out, case):
    esm, llm, proteins, make_prompts = CASES[case]
    model, prompts = Model(esm, llm), make_prompts(llm.V)
    put_sizes(out, case, esm, llm)
    for b, p in enumerate(proteins):
        put_input(out, f'{case}/protein{b}', [p.structure] + p.token.tolist())
        put_input(out, f'{case}/coord{b}', p.coord.reshape(-1).tolist())
        if p.structure:
            bias, hidden = model.structure(p)
            put_array(out, f'{case}/bias{b}', bias, 100)
            put_array(out, f'{case}/hidden{b}', hidden, 100)
        put_array(out, f'{case}/encoded{b}', model.encode(p), 200)
        put_array(out, f'{case}/projected{b}', model.project(model.encode(p)), 100)
    loss = 0
    for b, prompt in enumerate(prompts):
        put_input(out, f'{case}/prompt{b}', [prompt.protein, prompt.answer] + prompt.token)
        last, logits, nll = answer(model, proteins, prompt)
        put_array(out, f'{case}/last{b}', last, 100)
        put_array(out, f'{case}/logits{b}', logits, 100)
        put_array(out, f'{case}/nll{b}', nll, 100)
        loss = loss + nll.sum()
    put_array(out, case + '/loss', loss, 1)
    for name, gradient in model.gradients(loss).items():
        put_array(out, f'{case}/d:{name}', gradient, 10)


def answer(model, proteins, prompt):
    """Final hidden states of a prompt, logits after its last token, nll of its answer."""
    vectors = None
    if prompt.protein >= 0:
        vectors = model.project(model.encode(proteins[prompt.protein]))
    last, logits = model.read(model.merge(prompt, vectors))
    places, targets = supervised(prompt, 0 if vectors is None else len(vectors))
    nll = torch.logsumexp(logits[places], -1) - logits[places, targets]
    return last, logits[-1], nll


# ---- second opinion ----

class TransformersModel(Model):
    """The encoder and the LLM are Hugging Face's; structure, projector and merge stay ours."""

    def __init__(self, esm, llm, attention):
        super().__init__(esm, llm)
        from transformers import EsmConfig, EsmModel, LlamaConfig, LlamaForCausalLM
        self.hf_esm = EsmModel(EsmConfig(
            vocab_size=33, mask_token_id=MASK, pad_token_id=1, hidden_size=esm.D,
            num_hidden_layers=esm.layers, num_attention_heads=esm.H, intermediate_size=esm.ffn,
            max_position_embeddings=1026, position_embedding_type='rotary', token_dropout=True,
            emb_layer_norm_before=False, layer_norm_eps=esm.eps, hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0, attn_implementation=attention),
            add_pooling_layer=False).double().eval()
        self.hf_llm = LlamaForCausalLM(LlamaConfig(
            vocab_size=llm.V, hidden_size=llm.D, num_hidden_layers=llm.layers,
            num_attention_heads=llm.H, num_key_value_heads=llm.K, intermediate_size=llm.ffn,
            rms_norm_eps=llm.eps, tie_word_embeddings=llm.tied, attn_implementation=attention,
            rope_parameters={'rope_type': 'default', 'rope_theta': llm.base})).double().eval()
        self.adopt(self.hf_esm, 'protein_model.')
        self.adopt(self.hf_llm, 'text_model.')

    def adopt(self, module, prefix):
        """Copies our values into the module, and takes its parameters for ours."""
        for name, value in module.named_parameters():
            if prefix + name in self.w:
                value.data.copy_(self.w[prefix + name].data)
                self.w[prefix + name] = value
            else:
                print(f'  not used by the method: {name}')

    def encode(self, protein):
        bias, hidden = self.structure_padded(protein)
        added = self.hf_esm.embeddings.register_forward_hook(lambda m, i, y: y + hidden)
        mask = {} if not protein.structure else {'attention_mask': bias[None]}
        if mask:  # an additive mask cannot go through the embedding, which reads it as 0 and 1
            keep = self.hf_esm.embeddings.forward
            self.hf_esm.embeddings.forward = \
                lambda attention_mask=None, **rest: keep(attention_mask=None, **rest)
        try:
            return self.hf_esm(protein.token[None], output_hidden_states=True,
                               **mask).hidden_states[-2][0]
        finally:
            added.remove()
            if mask:
                self.hf_esm.embeddings.forward = keep

    def read(self, x):
        out = self.hf_llm(inputs_embeds=x[None], output_hidden_states=True)
        return out.hidden_states[-1][0], out.logits[0]


def distance(x, y):
    return ((x - y).abs().max() / y.abs().max().clamp_min(1e-300)).item()


def compare(case, attention):
    esm, llm, proteins, make_prompts = CASES[case]
    ours, theirs = Model(esm, llm), TransformersModel(esm, llm, attention)
    worst = {}

    def note(what, x, y):
        worst[what] = max(worst.get(what, 0), distance(x, y))

    for p in proteins:
        note('encoder states', theirs.encode(p), ours.encode(p))
    losses = [0, 0]
    for prompt in make_prompts(llm.V):
        a, b = answer(theirs, proteins, prompt), answer(ours, proteins, prompt)
        for what, x, y in zip(('final states', 'logits', 'nll'), a, b):
            note(what, x, y)
        losses = [losses[0] + a[2].sum(), losses[1] + b[2].sum()]
    note('loss', *losses)
    a, b = theirs.gradients(losses[0]), ours.gradients(losses[1])
    largest = max(g.abs().max().item() for g in b.values())
    for name in b:
        size = max(b[name].abs().max().item(), 1e-6 * largest)
        off = (a[name] - b[name]).abs().max().item() / size
        worst['gradients'] = max(worst.get('gradients', 0), off)
    print(f'  {case}, {attention}: ' + ', '.join(f'{k} {v:.1e}' for k, v in worst.items()))


def check_transformers():
    """Hugging Face's code computes angles, root mean squares and softmax in fp32 whatever the
    model's type; the second time its casts to fp32 lead to fp64."""
    import transformers
    transformers.logging.set_verbosity_error()
    print(f'torch {torch.__version__}, transformers {transformers.__version__}; '
          'largest difference relative to the largest value')
    for wide in (False, True):
        print('casts to fp32 made fp64:' if wide else 'as it is:')
        if wide:
            torch.float32 = torch.float = torch.float64
            torch.Tensor.float = torch.Tensor.double
        for case in CASES:
            compare(case, 'eager')


def main():
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    if '--check-transformers' in sys.argv[1:]:
        return check_transformers()
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'sepit.golden')
    with open(path, 'w') as out:
        for case in CASES:
            put_case(out, case)
    print(f'{path}: {os.path.getsize(path)} bytes')


main()
