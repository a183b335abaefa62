.PHONY: demo results test

demo:
	bash scripts/demo.sh

results:
	bash scripts/results.sh

test:
	bash scripts/test.sh
