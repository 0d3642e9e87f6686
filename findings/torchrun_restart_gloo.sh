#!/usr/bin/env bash
# torch 2.13.0: after a restart by torchrun, gloo may look for the processes of the life before.
#
# torchrun --max-restarts begins all processes again when one of them ends. A good engineer expects that
# init_process_group("gloo") then joins the new ones. Seen instead, where a process comes to it some seconds later than the
# other, as one that reads a checkpoint may:
#   first life    both join
#   second life   the one that is there first takes the other's address from the store, which outlives the processes: that
#                 of its first life, and gives up with "connectFullMesh failed"
# With a PrefixStore named by TORCHELASTIC_RESTART_COUNT around the store both join. Fails if the behaviour changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6
cat > "$folder/join.py" <<'PYTHON'
import datetime
import os
import sys
import time

from torch import distributed

rank, life = os.environ["RANK"], os.environ["TORCHELASTIC_RESTART_COUNT"]
if (rank, life) == ("1", "1"):
    time.sleep(5)
if sys.argv[1] == "plain":
    distributed.init_process_group("gloo", timeout=datetime.timedelta(seconds=20))
else:
    store, number, count = next(distributed.rendezvous("env://"))
    distributed.init_process_group("gloo", store=distributed.PrefixStore(life, store), rank=number, world_size=count)
print(f"life {life}: rank {rank} has joined", flush=True)
if life == "0":
    distributed.barrier()
    sys.exit(1)
PYTHON
run() {
    "$folder/venv/bin/python" -W ignore -m torch.distributed.run --standalone --nproc-per-node=2 --max-restarts=1 \
        "$folder/join.py" "$1" > "$folder/$1.log" 2>&1 || true
    grep -c "life $2: rank . has joined" "$folder/$1.log" || true
}
echo "as it is:     $(run plain 0) of 2 join in the first life, $(grep -c 'life 1: rank . has joined' "$folder/plain.log" || true) in the second"
echo "with a prefix: $(run prefix 0) of 2 join in the first life, $(grep -c 'life 1: rank . has joined' "$folder/prefix.log" || true) in the second"
test "$(grep -c 'has joined' "$folder/plain.log")" = 2
grep -q "connectFullMesh failed" "$folder/plain.log"
test "$(grep -c 'has joined' "$folder/prefix.log")" = 4
echo "as described"
