"""Running a benchmark's command in this process."""

from kebyt5.cli.bench import bench


def run(*arguments):
    tokens = [str(argument) for argument in arguments]
    bench(tokens, exit_on_error=False, print_error=False, result_action="return_value")
