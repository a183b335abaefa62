.PHONY: demo docs test

demo:
	bash scripts/demo.sh

docs:
	bash scripts/docs.sh

test:
	bash scripts/test.sh
