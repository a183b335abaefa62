#!/usr/bin/env bash
# The main job, offline and in about five minutes on 2 cores: fine-tunes the model that comes
# with kebyt5 on the sample data that comes with it, scores it beside a lexicon, tags sentences.
set -euo pipefail
source "$(dirname "$0")/environment.sh"

sample=src/kebyt5/assets/sample_ner
mkdir -p runs
run=$(mktemp -d runs/demo-XXXXXX)

kebyt5 finetune --task ner --train "$sample/train.tsv" --dev "$sample/dev.tsv" \
    --config scripts/demo.yaml --output "$run"

echo
echo "New sentences, tagged:"
kebyt5 predict "$run" --task ner \
    --text "박소담 씨는 지난주 토요일 부산에서 열린 한빛은행 행사에 다녀왔다." \
    --text "오후 3시 20분에 최하늘 기자를 대전시청 앞에서 만났다." \
    --text "하늘이 맑아서 사과 12개를 들고 소풍을 갔다."
echo
echo "Everything about the run, with curves in training.png: $run"
