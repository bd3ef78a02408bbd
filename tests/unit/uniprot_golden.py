#!/usr/bin/env python3
"""Facts about real UniProt records by an independent reader -> uniprot_golden.tsv (beside this).

usage: uniprot_golden.py [--print]      from the repository's root
The reader here works on whole joined texts with regular expressions, unlike the one under test.
Counts and hashes (CRC-32 of a canonical text, see `canonical`) only: no text is copied. Where
Biopython can read a file, accession, length, taxon, first date, number of comments and of features
per key, keywords and GO terms are compared with it too. Biopython is left out for
  - records of the layout before 2006_05 (PRELIMINARY, IPI): it demands three DT lines or ';' there;
  - keys of the first comment's topic: it has no notion of topics.
"""
import collections, glob, gzip, os, re, sys, warnings, zlib

FOLDERS = {
    "emboss": ("/usr/share/EMBOSS/test/swiss", ["seq.dat"]),
    "biopython": ("/usr/share/doc/python-biopython-doc/Tests/SwissProt",
                  ["[A-Z]*.txt", "[A-Z]*.txt.gz", "multi_ex.txt.gz", "sp01*"]),
    "recent": ("../shared/data/uniprot", ["*.dat"]),
}
CLASSES = {269: 1, 7744: 1, 303: 2, 305: 2, 250: 3,
           213: 4, 255: 4, 256: 4, 259: 4, 313: 4, 7829: 4}
WORDS = {"by similarity": 3, "potential": 4, "probable": 2}


def read(path):
    with (gzip.open if path.endswith(".gz") else open)(path, "rt", encoding="utf-8") as f:
        return f.read()


def strongest(classes):
    return min(classes, default=0)


def classes_in(text):
    return [CLASSES.get(int(c), 5) for c in re.findall(r"ECO:(\d+)", text)]


def join(lines):
    """Wrapped lines: a blank, none after a hyphen unless it stood alone or and/or follows."""
    text = "\n".join(x.strip() for x in lines if x.strip())
    text = re.sub(r"(?<=[^ \n]-)\n(?!(?:and|or) )", "", text)
    return text.replace("\n", " ")


def strip(text, words=False):
    """-> text without evidence, classes met"""
    tags = r"\{ECO:[^}]*\}"
    classes = classes_in(" ".join(re.findall(tags, text)))
    text = re.sub(r" *Evidence=" + tags + ";?", "", text)
    if words:
        old = r"\((By similarity|Potential|Probable)\)"
        classes += [WORDS[w.lower()] for w in re.findall(old, text, re.I)]
        tags += "|" + old
    text = re.sub(r" *(?:" + tags + ")", "\x01", text, flags=re.I)
    return re.sub(r"\.\x01+\.", ".", text).replace("\x01", ""), classes


def prose(topic, text):
    note = ""
    if topic in ("COFACTOR", "SUBCELLULAR LOCATION"):
        m = re.search(r"(?:^|(?<= ))Note=(.*)", text)
        if m:
            text, note = text[:m.start()], m.group(1)
    if topic == "CATALYTIC ACTIVITY" and text.startswith("Reaction="):
        text = re.match(r"Reaction=(.*?)(?:;(?= |$)|$)", text).group(1) + "."
    elif topic == "COFACTOR" and text.startswith("Name="):
        text = ", ".join(re.findall(r"(?:^|; )Name=(.*?)(?=;(?: |$)|$)", text)) + "."
    plain = lambda t: re.sub(r" *\((?:PubMed:|Ref\.)[^)]*\)", "", t).strip(" ")
    return plain(text), plain(note).rstrip("; ")


def comments(lines):
    body = re.split(r"\n?-!- ", "\n".join(lines))[1:]
    for block in body:
        block = block.split("\n---")[0]
        topic, text = join(block.split("\n")).split(":", 1)
        text, molecule = text.strip(), ""
        m = re.match(r"\[(.*?)\]: *", text)
        if not m and (text.startswith("Isoform ") or topic == "SUBCELLULAR LOCATION"):
            m = re.match(r"([^:.;{=]{1,120}): ", text)
        if m:
            molecule, text = m.group(1), text[m.end():]
        text, classes = strip(text, True)
        yield topic, molecule, strongest(classes), text


def position(text):
    number = re.sub(r"[<>?]", "", text)
    return (int(number) if number else -1), ("<" in text or ">" in text), "?" in text


def note_of(key, lines):
    if key in ("VAR_SEQ", "CONFLICT", "VARIANT", "MUTAGEN"):
        text = "\n".join(lines)
        before, bracket, after = text.partition("(")
        before = re.sub(r"(?<![^\s])([A-Z]+)\n(?=[A-Z]+(?:\s|$))", r"\1", before)
        lines = (before + bracket + after).split("\n")
    return join(lines)


def features(lines):
    for block in re.split(r"\n(?=\S)", "\n".join(lines)) if lines else []:
        first, *rest = block.split("\n")
        key, location = first.split()[:2]
        sequence, ligand, identifier, classes = "", "", "", []
        if re.match(r"\S+ {8,}\S+$", first) and len(first) - len(first.split()[1]) == 16:
            values = dict(re.findall(r'^\s*/(\w+)="((?:[^"]|"")*)"\s*$', "\n".join(rest), re.M))
            values = {k: v.replace('""', '"') for k, v in values.items()}
            note = note_of(key, [x.strip() for x in values.get("note", "").split("\n")])
            note, classes = strip(note, True)
            classes += classes_in(values.get("evidence", ""))
            ligand = join(values.get("ligand", "").split("\n"))
            identifier = values.get("id", "")
            if ":" in location:
                sequence, location = location.split(":")
            begin, _, end = location.partition("..")
            end = end or begin
        else:
            begin, end = first.split()[1:3]
            texts = [x.strip() for x in [" ".join(first.split(None, 3)[3:])] + rest]
            identifier = "".join(re.findall(r"/FTId=(\w+)", "\n".join(texts)))
            note = note_of(key, [x for x in texts if x and not x.startswith("/FTId")])
            note, classes = strip(note, True)
            note = re.sub(r"\.$", "", note)
            if note.lower() in WORDS:
                classes, note = classes + [WORDS[note.lower()]], ""
        b, b_out, b_unsure = position(begin)
        e, e_out, e_unsure = position(end)
        flags = ((b_out and "<" in begin) * 1 + (e_out and ">" in end) * 2 + b_unsure * 4
                 + e_unsure * 8)
        yield key, b, e, flags, sequence, strongest(classes), note, ligand, identifier


def names(lines):
    """-> [(kind, field, part, text)], flags"""
    flags = set()
    if not re.match(r"(RecName|AltName|SubName|Contains|Includes|Flags):", lines[0]):
        text = re.sub(r"\.$", "", join(lines))
        parts = re.search(r" \[(?:Contains|Includes): (.*)\]", text)
        found = []
        texts = [text[:parts.start()]] + parts.group(1).split("; ") if parts else [text]
        words = {"Fragment": r"\(Fragment", "Precursor": r"\bprecursor\b"}
        flags |= {f for f, pattern in words.items() if re.search(pattern, text)}
        for n, t in enumerate(texts):
            groups = re.findall(r"(?<= )\(((?:[^()]|\([^()]*\))*)\)(?= |$)", t)
            full = re.split(r" \((?=(?:[^()]|\([^()]*\))*\)(?: |$))", t)[0]
            found.append((0, 0, n, re.sub(" precursor$", "", full)))
            for g in groups:
                if not g.startswith("Fragment"):
                    found.append((1, 2 if g.startswith("EC ") else 0, n, re.sub("^EC ", "", g)))
        return found, flags
    kind, part, found = 0, 0, []
    for line in lines:
        m = re.match(r" *(?:(RecName|AltName|SubName|Contains|Includes|Flags): ?)? *(.*)", line)
        word, rest = m.groups()
        if word in ("Contains", "Includes"):
            part += 1
        elif word == "Flags":
            flags |= {f.rstrip("s") for f in re.findall(r"\w+", rest)}
        else:
            kind = ["RecName", "AltName", "SubName"].index(word) if word else kind
            field, value = rest.split("=", 1)
            fields = {"Full": 0, "Short": 1, "EC": 2}
            found.append((kind, fields.get(field, 3), part, strip(value.rstrip(";"))[0]))
    return found, flags


def genes(lines):
    text = strip(join(lines))[0].rstrip(";.")
    if "=" not in text:
        return [g.strip("() ") for g in re.split(r" (?:OR|AND) ", text) if g]
    fields = re.split(r"; (?:and )?", text)
    return [g for f in fields for g in f.split("=", 1)[1].split(", ")]


def date(line):
    day, month, year = re.match(r"(\d\d)-(\w{3})-(\d{4})", line).groups()
    months = "JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC".split()
    return int(year) * 10000 + (months.index(month) + 1) * 100 + int(day)


def canonical(record):
    """-> facts (dict of counts) and canonical lines, each with the letter of its group"""
    lines = collections.defaultdict(list)
    for line in record.split("\n"):
        lines[line[:2]].append(line[5:].rstrip())
    accessions = re.findall(r"[^; ]+", " ".join(lines["AC"]))
    sequence = "".join("".join(lines["  "]).split())
    found, flags = names(lines["DE"]) if lines["DE"] else ([], set())
    full = [(k != 0, k != 2, t) for k, f, p, t in found if f == 0 and p == 0]
    dates = ([date(x) for x in lines["DT"]] + [0, 0, 0])[:3]
    taxon = int((re.findall(r"NCBI_TaxID=(\d+)", " ".join(lines["OX"])) + ["0"])[0])
    reviewed = bool(re.search(r"\bReviewed;|STANDARD;", lines["ID"][0]))
    level = int((lines["PE"] + ["0"])[0][0])
    organism = re.sub(r"\.$", "", strip(join(lines["OS"]))[0])
    remarks, marks = list(comments(lines["CC"])), list(features(lines["FT"]))
    words = strip(join(lines["KW"]))[0].rstrip(".;")
    refs = [re.sub(r"\.$", "", x).split("; ", 2) for x in lines["DR"]
            if re.match("(GO|PDB|AlphaFoldDB);", x)]
    out = [("R", lines["ID"][0].split()[0], int(reviewed), len(sequence), taxon, *dates, level,
            int("Fragment" in flags), int("Precursor" in flags), organism,
            min(full, key=lambda x: x[:2])[2] if full else "", sequence)]
    out += [("N", a) for a in accessions] + [("N", *n) for n in found]
    out += [("N", g) for g in (genes(lines["GN"]) if lines["GN"] else [])]
    out += [("C", *c) for c in remarks] + [("P", *prose(c[0], c[3])) for c in remarks]
    out += [("F", *f) for f in marks] + [("X", *x) for x in refs]
    out += [("X", k) for k in words.split("; ") if k]
    tally = lambda values: sorted(collections.Counter(values).items())
    count = lambda values: ";".join(f"{k}={n}" for k, n in tally(values))
    facts = dict(accession=accessions[0], length=len(sequence), taxon=taxon, date=dates[0],
                 topics=count(c[0] for c in remarks) or "-", keys=count(f[0] for f in marks) or "-",
                 go=sum(x[0] == "GO" for x in refs))
    return facts, ["|".join(map(str, line)) for line in out]


def compare_with_biopython(text, records):
    from Bio import SwissProt
    import io
    for record in records:
        if re.search("PRELIMINARY;|IPI;", record):
            continue
        b, (facts, lines) = SwissProt.read(io.StringIO(record)), canonical(record)
        mine = [facts["accession"], facts["length"], facts["taxon"], facts["date"],
                [x.split("|")[1] for x in lines if x[0] == "C"], facts["go"], facts["keys"],
                [x.split("|")[1] for x in lines if x[0] == "X" and x.count("|") == 1]]
        keys = collections.Counter(f.type for f in b.features)
        theirs = [b.accessions[0], b.sequence_length, int(b.taxonomy_id[0]), date(b.created[0]),
                  [c.split(":")[0] for c in b.comments],
                  sum(x[0] == "GO" for x in b.cross_references),
                  ";".join(f"{k}={n}" for k, n in sorted(keys.items())) or "-",
                  [re.sub(r" *\{ECO:.*", "", k) for k in b.keywords]]
        for m, t in zip(mine, theirs):
            assert m == t, (facts["accession"], m, t)


def main():
    out = open(os.path.join(os.path.dirname(__file__), "uniprot_golden.tsv"), "w")
    print("# by uniprot_golden.py: group, file, accession, length, taxon, first date, comments per "
          "topic, features per key, GO terms, CRC-32 of the canonical lines R N C P F X", file=out)
    total = 0
    for group, (folder, patterns) in FOLDERS.items():
        paths = sorted(p for pattern in patterns for p in glob.glob(os.path.join(folder, pattern)))
        for path in paths:
            text = read(path)
            records = [r + "//\n" for r in re.split(r"^//\n", text, flags=re.M) if r.strip()]
            compare_with_biopython(text, records)
            for record in records:
                facts, lines = canonical(record)
                if "--print" in sys.argv:
                    print("\n".join(lines))
                texts = ["".join(x + "\n" for x in lines if x[0] == g) for g in "RNCPFX"]
                sums = [f"{zlib.crc32(t.encode()):08x}" for t in texts]
                print(group, os.path.basename(path), *facts.values(), *sums, sep="\t", file=out)
                total += 1
    print(total, "records", file=sys.stderr)


main()
