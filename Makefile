.PHONY: demo docs results test

demo:
	bash scripts/demo.sh

results:
	bash scripts/results.sh

docs:
	bash scripts/docs.sh

test:
	bash scripts/test.sh
