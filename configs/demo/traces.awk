# Writes made-up Cα traces for the first N real entries of a UniProt flat file that have at most MAX
# residues (all, without MAX): one PDB file each, OUT/ACCESSION.pdb, marked SYNTHETIC. They stand in where no experimental structure is at hand, and
# pass through the same reader as real ones.
# usage: awk -v N=32 -v MAX=260 -v OUT=folder -f traces.awk seq.dat
#
# A trace alternates helices (1.5 Å rise, 100° turn, 2.3 Å radius) and strands (3.3 Å rise), with
# lengths that depend on the accession, so that proteins differ in shape.
BEGIN {
    split("A ALA R ARG N ASN D ASP C CYS Q GLN E GLU G GLY H HIS I ILE L LEU K LYS M MET F PHE P PRO S SER T THR W TRP Y TYR V VAL U SEC X UNK B ASX Z GLX", w, " ")
    for (i = 1; i in w; i += 2) three[w[i]] = w[i + 1]
    pi = atan2(0, -1)
    for (i = 0; i < 128; i++) code[sprintf("%c", i)] = i
}
/^AC   / && acc == "" { acc = $2; sub(/;.*/, "", acc) }
/^SQ   / { reading = 1; next }
/^\/\// { if (!MAX || length(seq) <= MAX) { write_trace(); done++ } acc = seq = ""; reading = 0; if (done >= N) exit }
reading { line = $0; gsub(/ /, "", line); seq = seq line }

function write_trace(    file, n, i, r, phase, x, y, z, rise, turn, radius, left, helix) {
    file = OUT "/" acc ".pdb"
    n = length(seq)
    for (i = 1; i <= length(acc); i++) phase += code[substr(acc, i, 1)] * i
    printf "HEADER    SYNTHETIC\n" > file
    printf "DBREF  %-4s A %4d  %4d  UNP    %-8s %-12s %5d  %5d\n", "XXXX", 1, n, acc, acc, 1, n > file
    for (i = 1; i <= n; i++) {
        if ((i - 1) % 13 == 0) printf "SEQRES %3d A %4d ", int((i - 1) / 13) + 1, n > file
        printf " %s", three[substr(seq, i, 1)] > file
        if (i % 13 == 0 || i == n) printf "\n" > file
    }
    for (i = 1; i <= n && i <= 9999; i++) {
        if (left == 0) { helix = !helix; left = 6 + (phase + i * 7) % 11 }
        left--
        rise = helix ? 1.5 : 3.3; turn = helix ? 100 * pi / 180 : 180 * pi / 180; radius = helix ? 2.3 : 0.9
        z += rise; r += turn
        x = radius * cos(r) + 12 * sin(z / (18 + phase % 9)); y = radius * sin(r) + 12 * cos(z / (18 + phase % 9))
        printf "ATOM  %5d  CA  %s A%4d    %8.3f%8.3f%8.3f  1.00  0.00           C\n", i, three[substr(seq, i, 1)], i, x, y, z > file
    }
    printf "TER\nEND\n" > file
    close(file)
}
