"""composer completion: shell scripts that complete commands, flags, services and profiles."""

from __future__ import annotations

from composer.cli.errors import UsageError
from composer.cli.parsing.command_table import command
from composer.cli.parsing.flags import Args

TYPE_CHECKING = False  # of typing, whose import takes 5 ms
if TYPE_CHECKING:
    from composer.cli.project.context import Context

COMMAND = command("completion", "completion bash|fish|zsh", positional=(1, 1))

BASH = """\
# bash completion for composer; put it into a file that your shell reads:
#   composer completion bash > /etc/bash_completion.d/composer
_composer() {
    local words=("${COMP_WORDS[@]:1:COMP_CWORD}") line candidates=()
    local current="${COMP_WORDS[COMP_CWORD]}"
    [ "$current" = "=" ] && current=
    while IFS= read -r line; do
        candidates+=("${line%%$'\\t'*}")
    done < <("${COMP_WORDS[0]}" complete -- "${words[@]}" 2> /dev/null)
    COMPREPLY=("${candidates[@]}")
    if [ ${#COMPREPLY[@]} -eq 0 ]; then
        compopt -o default
    elif [[ ${COMPREPLY[0]} == *[:=] ]]; then
        compopt -o nospace
    fi
}
complete -F _composer composer
"""

ZSH = """\
#compdef composer
# zsh completion for composer; put it into a file of your fpath:
#   composer completion zsh > "${fpath[1]}/_composer"
_composer() {
    local -a candidates
    local line
    for line in "${(@f)$(composer complete -- "${(@)words[2,CURRENT]}" 2> /dev/null)}"; do
        [ -n "$line" ] && candidates+=("${${line%%$'\\t'*}//:/\\\\:}${${(M)line:#*$'\\t'*}:+:${line#*$'\\t'}}")
    done
    if (( ${#candidates} )); then _describe 'composer' candidates; else _files; fi
}
if [ "$funcstack[1]" = "_composer" ]; then _composer; else compdef _composer composer; fi
"""

FISH = """\
# fish completion for composer; put it where fish looks for it:
#   composer completion fish > ~/.config/fish/completions/composer.fish
function __composer_complete
    set -l words (commandline -opc) (commandline -ct)
    composer complete -- $words[2..-1] 2> /dev/null
end
complete -c composer -f -a '(__composer_complete)'
"""

SCRIPTS = {"bash": BASH, "fish": FISH, "zsh": ZSH}


def run(context: Context, args: Args) -> int:
    shell = args.positional[0]
    if shell not in SCRIPTS:
        raise UsageError(f'no completion for "{shell}": one of {", ".join(SCRIPTS)}')
    print(SCRIPTS[shell], end="")
    return 0
