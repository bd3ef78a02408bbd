#!/usr/bin/env python3
"""Writes structure_golden.tsv: what gemmi, a parser of other people's making, finds in real files.

    python3 tests/unit/structure_golden.py        (needs gemmi and Biopython; tests do not)

One line a protein chain of the first model: file, author's chain name, length of the sequence,
residues with a C-alpha, sums of x, y and z over them, CRC-32 of the letters. "-" as chain: the file
is refused, or (length 0) holds no protein.

Rules that are ours, applied here on top of what gemmi reads:
- alternate locations: per residue the one of highest mean occupancy, the first of equals; gemmi
  keeps them all;
- letters: gemmi's table, then Biopython's; a residue neither knows is X. HIS, GLH and the like of
  force fields have their parent's letter;
- chromophores (several residues in one) are X, where gemmi names the first;
- without a declared sequence, a cap such as ACE is no residue of the chain; gemmi counts it.
"""
import glob, gzip, os, sys, zlib
import gemmi
from Bio.Data.PDBData import protein_letters_3to1_extended as biopython

ROOTS = ['/usr/share/doc/python-biopython-doc/Tests/PDB', '/usr/share/doc/theseus/examples']
CHROMOPHORES = {'CRO', 'CR2', 'CRQ', 'CRF', 'NRQ', 'X9Q', 'PIA', 'MDO'}


def letter(name):
    if name in CHROMOPHORES:
        return 'X'
    info = gemmi.find_tabulated_residue(name)
    if info and info.one_letter_code.strip():
        return info.one_letter_code.upper()
    return biopython.get(name.ljust(3), 'X')


def chosen(residues):
    """(name, C-alpha or None) of the alternate location that counts, of residues of one number."""
    groups = {}
    for r in residues:
        for a in r:
            g = groups.setdefault((a.altloc, r.name), [[], None])
            g[0].append(a.occ)
            if a.name == 'CA' and a.element.name == 'C' and g[1] is None:
                g[1] = a
    with_ca = {k: g for k, g in groups.items() if g[1] is not None} or groups
    blank = [k for k in with_ca if k[0] == '\0']
    best = blank[0] if blank else max(with_ca, key=lambda k: sum(with_ca[k][0]) / len(with_ca[k][0]))
    return best[1], groups[best][1]


def read(path):
    """gemmi refuses files from before 1996, whose columns 73-80 hold the entry and a line number
    instead of element and charge: it gets them without these columns."""
    try:
        return gemmi.read_structure(path)
    except RuntimeError as e:
        if 'Wrong format for charge' not in str(e):
            raise
    text = gzip.open(path, 'rt').read()
    return gemmi.read_pdb_string('\n'.join(line[:72] for line in text.split('\n')))


def chains_of(path):
    st = read(path)
    if len(st) == 0 or st[0].count_atom_sites() == 0:
        raise ValueError('no atoms: ours to refuse, gemmi takes it')
    st.setup_entities()
    st.assign_label_seq_id()
    for chain in st[0]:
        polymer = chain.get_polymer()
        if len(polymer) == 0:
            continue
        entity = st.get_entity_of(polymer)
        kind = polymer.check_polymer_type()
        if kind not in (gemmi.PolymerType.PeptideL, gemmi.PolymerType.PeptideD):
            continue
        declared = [gemmi.Entity.first_mon(m) for m in entity.full_sequence] if entity else []
        by_number = {}
        for r in polymer:
            key = r.label_seq if declared else str(r.seqid)
            by_number.setdefault(key, []).append(r)
        letters, positions = [letter(m) for m in declared], []
        for key, residues in by_number.items():
            name, ca = chosen(residues)
            if declared:
                letters[key - 1] = letter(name)
            elif letter(name) != 'X' or ca is not None:
                letters.append(letter(name))
            if ca is not None:
                positions.append((ca.pos.x, ca.pos.y, ca.pos.z))
        yield chain.name, ''.join(letters), positions


def lines_of(path, name):
    try:
        found = list(chains_of(path))
    except Exception:
        return [f'{name}\t-\t-1\t0\t0\t0\t0\t0']
    out = []
    for chain, letters, p in found:
        s = [sum(q[k] for q in p) for k in range(3)]
        out.append(f'{name}\t{chain}\t{len(letters)}\t{len(p)}\t{s[0]:.3f}\t{s[1]:.3f}\t{s[2]:.3f}'
                   f'\t{zlib.crc32(letters.encode()):08x}')
    return out or [f'{name}\t-\t0\t0\t0\t0\t0\t0']


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    with open(os.path.join(here, 'structure_golden.tsv'), 'w') as out:
        for number, root in enumerate(ROOTS):
            files = sorted(f for pattern in ('*.cif', '*.cif.gz', '*.pdb', '*.pdb.gz', '*.ent')
                           for f in glob.glob(os.path.join(root, '**', pattern), recursive=True))
            for f in files:
                name = f'{number}/{os.path.relpath(f, root)}'
                out.write('\n'.join(lines_of(f, name)) + '\n')


if __name__ == '__main__':
    main()
