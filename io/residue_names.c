#include "io/residue_names.h"

#include <stddef.h>

/* One row a letter: the residue itself, then those made from it. The twenty come first because
 * nearly every look-up asks for one of them. Left out: chromophores, which are several residues in
 * one, and amino acids without a genetic parent other than the commonest. */
enum { ROW = 52 }; /* names of the longest row */

static const struct {
    char letter;
    char names[ROW][4];
} amino_acids[] = {
    {'L', {"LEU", "DLE", "MLE", "MK8", "NLE", "CLE", "MLL", "2ML", "2LU", "NLN", "NLP", "HLU"}},
    {'A',
     {"ALA", "DAL", "AIB", "ABA", "MAA", "AYA", "ALC", "ALM", "ALN", "ALS", "ALT", "AA4", "DNP",
      "FLA", "HAC", "NAL", "NCB", "TIH"}},
    {'G', {"GLY", "SAR", "GL3", "GLZ", "GSC", "MPQ", "MSA"}},
    {'V', {"VAL", "DVA", "MVA", "DHN", "VAD", "VAF"}},
    {'S',
     {"SER", "SEP", "DSN", "DHA", "OAS", "SAC", "SEB", "SEL", "SET", "SVA", "SDP", "SBL", "SUN",
      "MC1", "HSL", "SVX", "SVY", "N10"}},
    {'E', {"GLU", "PCA", "CGU", "DGL", "GMA", "5HP", "AR4", "GAU", "GLQ", "LME", "ILG"}},
    {'K', {"LYS", "KCX", "MLY", "MLZ", "M3L", "ALY", "LLP", "DLY", "KPI", "KPY",
           "KST", "LYM", "LYN", "LYR", "LYX", "LYZ", "SHR", "SLZ", "TRG", "BTK",
           "FAK", "FHO", "FHL", "6CL", "MCL", "PRK", "LLY", "FDL"}},
    {'T', {"THR", "TPO", "DTH", "ALO", "BMT", "DBU", "TMD", "TBM", "CTH"}},
    {'D',
     {"ASP", "PHD", "BFD", "IAS", "DAS", "ASA", "ASB", "ASI", "ASK", "ASL", "ASQ", "BHD", "DMK",
      "3MD", "AEI"}},
    {'I', {"ILE", "DIL", "IIL", "IML"}},
    {'R',
     {"ARG", "AGM", "DAR", "CIR", "ACL", "ARM", "ARO", "BOR", "DA2", "2MR", "HAR", "HMR", "HRG",
      "MAI", "NMM", "OPR", "DIR"}},
    {'P', {"PRO", "HYP", "DPR", "DPL", "FP9", "HY3", "LPD", "POM", "PR9", "PCC"}},
    {'N', {"ASN", "DSG", "MEN", "SNN", "DMH"}},
    {'F', {"PHE", "DPN", "PHI", "PHL", "BIF", "BNN", "DAH", "F2F", "FCL", "HPQ", "PF5", "PFF"}},
    {'Q', {"GLN", "DGN", "MGN", "GHG"}},
    {'Y',
     {"TYR", "PTR", "TYS", "TPQ", "DTY", "OMY", "OMX", "IYR", "NIY", "PAQ", "PTM", "STY", "TY2",
      "TY5", "TYB", "TYI", "TYN", "TYQ", "TYY", "TTS", "YOF", "1TY", "DBY", "NBQ", "PTH"}},
    {'H',
     {"HIS", "HIC", "MHS", "NEP", "DHI", "HID", "HIE", "HIP", "HSD", "HSP", "3AH", "HIA", "HIQ",
      "MH1"}},
    {'M', {"MET", "MSE", "FME", "MHO", "CXM", "SME", "MED", "MME", "OMT"}},
    {'C',
     {"CYS", "CSO", "CSD", "CSX", "CME", "CSS", "OCS", "SMC", "CAS", "CAF", "SCH", "SCY", "SNC",
      "YCM", "DCY", "CSW", "CSU", "CSZ", "CSR", "CSP", "CSA", "CSB", "CSE", "CYX", "CYM", "CYG",
      "CY1", "CY3", "CY4", "CYQ", "CYF", "C5C", "C6C", "CCS", "CMT", "CZZ", "BCS", "BUC", "BTC",
      "CAY", "CEA", "EFC", "OCY", "PEC", "PR3", "QCS", "SCS", "SHC", "SOC", "TNB", "2CO", "5CS"}},
    {'W', {"TRP", "TRQ", "DTR", "0AF", "TRO", "TRN", "TRF", "TRW", "TRX", "TPL", "HTR",
           "LTR", "BTR", "FTR", "WRP", "4HT", "4DP", "4FW", "6CW", "TCR", "KYN"}},
    {'U', {"SEC"}},
    {'O', {"PYL"}},
    {'B', {"ASX"}},
    {'Z', {"GLX"}},
    {'X', {"UNK"}},
};

static const char nucleotides[][4] = {"A",   "C",   "G",   "U",   "I",   "N",   "T",   "DA",  "DC",
                                      "DG",  "DT",  "DU",  "DI",  "DN",  "+A",  "+C",  "+G",  "+T",
                                      "+U",  "+I",  "PSU", "5MU", "5MC", "1MA", "2MG", "M2G", "7MG",
                                      "OMC", "OMG", "H2U", "YG",  "5CM", "BRU"};

enum { AMINO_LETTERS = sizeof amino_acids / sizeof *amino_acids };

static uint64_t pack(const char name[4]) {
    return residue_name_pack(name, strnlen(name, 4));
}

/* Letter, or 0 for no amino acid. */
static uint8_t find_amino_acid(uint64_t name) {
    for (size_t i = 0; i < AMINO_LETTERS; i++)
        if (pack(amino_acids[i].names[0]) == name)
            return (uint8_t)amino_acids[i].letter;
    for (size_t i = 0; i < AMINO_LETTERS; i++)
        for (size_t j = 1; j < ROW && amino_acids[i].names[j][0] != '\0'; j++)
            if (pack(amino_acids[i].names[j]) == name)
                return (uint8_t)amino_acids[i].letter;
    return 0;
}

residue_kind residue_name_kind(uint64_t name) {
    if (find_amino_acid(name) != 0)
        return RESIDUE_AMINO;
    for (size_t i = 0; i < sizeof nucleotides / sizeof *nucleotides; i++)
        if (pack(nucleotides[i]) == name)
            return RESIDUE_NUCLEOTIDE;
    return RESIDUE_OTHER;
}

uint8_t residue_name_letter(uint64_t name) {
    const uint8_t letter = find_amino_acid(name);
    return letter != 0 ? letter : 'X';
}
