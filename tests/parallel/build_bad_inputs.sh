#!/usr/bin/env bash
# TEST timeout=150
# Input that cannot be trusted ends `sepit build` and `sepit inspect` with exit code 2 on every
# number of ranks and with a sentence that names it; nothing stands under the output's name, and a
# dataset that was there before is untouched.
set -u
folder=$(mktemp -d) || exit 1
trap 'rm -rf "$folder"' EXIT
SEPIT=$(realpath "$SEPIT")
passed=0 failed=0

entry() { # a good entry of one residue (CRC64 of "M" is 66F0000000000000)
    printf 'ID   ONE_TEST  Reviewed;  1 AA.\nAC   P00001;\nDE   RecName: Full=One;\n'
    printf 'SQ   SEQUENCE   1 AA;  149 MW;  %s CRC64;\n     M\n//\n' "${1:-66F0000000000000}"
}

# expect CODE PATTERN WORDS…: alone and on 3 ranks the program ends with CODE and says PATTERN.
expect() {
    local code=$1 pattern=$2 launch got
    shift 2
    for launch in "" "mpirun -n 3"; do
        timeout 60 $launch "$SEPIT" "$@" >"$folder/log" 2>&1 </dev/null
        got=$?
        if [ $got -eq "$code" ] && grep -qE "$pattern" "$folder/log" && [ ! -e "$folder/out.h5" ] &&
            [ ! -e "$folder/out.h5.partial" ]; then
            passed=$((passed + 1))
        else
            failed=$((failed + 1))
            echo "$launch sepit $*: exit $got, expected $code and /$pattern/:"
            head -n 5 "$folder/log"
            ls "$folder"
        fi
    done
}

cd "$folder" || exit 1
mkdir empty notes links
echo "no entry" >notes/readme.txt
: >nothing.dat
entry >good.dat
entry DEADBEEFDEADBEEF >crc.dat
for i in $(seq 3000); do entry; done >many.dat
gzip -k many.dat
head -c 300 many.dat.gz >cut.dat.gz
printf 'ID   X' >stub.dat
ln -s ../good.dat links/good.dat
ln -s ../gone.dat links/moved.dat
out="data.path=out.h5"
expect 2 'build.entries' build $out
expect 2 'no UniProt flat file' build $out build.entries=empty
expect 2 'no UniProt flat file' build $out build.entries=notes
expect 2 'missing.dat.*No such file' build $out build.entries=good.dat,missing.dat
expect 2 'links/moved.dat.*symbolic link to nothing' build $out build.entries=links
expect 2 'nothing.dat' build $out build.entries=good.dat,nothing.dat
expect 2 'readme.txt' build $out build.entries=good.dat,notes/readme.txt
expect 2 'cut.dat.gz' build $out build.entries=good.dat,cut.dat.gz
expect 2 'crc.dat:4: entry P00001' build $out build.entries=crc.dat
expect 2 'none of the 1 entries' build $out build.entries=crc.dat
expect 2 'none of the 1 entries' build $out build.entries=stub.dat
expect 2 'missing.pdb' build $out build.entries=good.dat build.structures=missing.pdb
expect 2 'cut.pdb.gz' build $out build.entries=good.dat build.structures="$(cp cut.dat.gz cut.pdb.gz && echo cut.pdb.gz)"
expect 1 'good.dat' build data.path=good.dat/out.h5 build.entries=good.dat
expect 2 'inspect what' inspect
expect 2 'out.h5' inspect out.h5
expect 2 'good.dat' inspect good.dat

# What was there before stays, byte for byte, when a build fails; a good build replaces it.
echo before >kept.h5
timeout 30 mpirun -n 2 "$SEPIT" build data.path=kept.h5 build.entries=cut.dat.gz >log 2>&1
if [ $? -eq 2 ] && [ "$(cat kept.h5)" = before ]; then passed=$((passed + 1)); else failed=$((failed + 1)); cat log; fi
timeout 30 mpirun -n 2 "$SEPIT" build data.path=kept.h5 build.entries=good.dat,many.dat.gz >log 2>&1
if [ $? -eq 0 ] && grep -q ' 3001$' log && grep -q ' 3000$' log; then passed=$((passed + 1)); else failed=$((failed + 1)); cat log; fi
if timeout 30 "$SEPIT" inspect kept.h5 --protein P00001 | grep -q 'The protein is named One.'; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
timeout 30 "$SEPIT" inspect kept.h5 --protein P00002 >log 2>&1
if [ $? -eq 2 ] && grep -q P00002 log; then passed=$((passed + 1)); else failed=$((failed + 1)); cat log; fi
if timeout 30 "$SEPIT" inspect kept.h5 --json | python3 -c 'import json,sys; d=json.load(sys.stdin); assert d["proteins"] == 1 and d["ledger"][0]["count"] == 3001' 2>log || ! command -v python3 >/dev/null; then passed=$((passed + 1)); else failed=$((failed + 1)); cat log; fi

# What is not understood is counted over all ranks, and told.
rm links/moved.dat
{ sed 's/^DE/ZZ   what is this?\nCC   -!- NO SUCH TOPIC: Nothing.\nDE/; s/P00001/P00002/' good.dat; cat good.dat; } >strange.dat
timeout 30 mpirun -n 3 "$SEPIT" build data.path=kept.h5 build.entries=strange.dat,links >log 2>&1
if [ $? -eq 0 ] && grep -q 'not understood in the entries: 1 lines, 1 comment topics, 0 feature' log; then passed=$((passed + 1)); else failed=$((failed + 1)); cat log; fi

echo "$passed as expected, $failed not"
[ $failed -eq 0 ]
