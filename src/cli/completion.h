#pragma once

struct cli;

/* `rsip completion bash|zsh`: the script on standard output. */
int cli_completion(struct cli *cli, const void *options, int argc, char **argv);
