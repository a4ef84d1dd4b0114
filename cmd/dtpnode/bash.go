package main

import (
	"bytes"
	"strings"

	"github.com/spf13/cobra"
)

// wordsOfPackage is where cobra's script for bash asks the package bash-completion for the words on the command line.
const wordsOfPackage = `    _get_comp_words_by_ref "$@" cur prev words cword
`

// wordsOfOwn does the same where that package is not there: bash breaks words at = and :, which are parts of them here.
const wordsOfOwn = `    if declare -F _get_comp_words_by_ref >/dev/null 2>&1; then
        _get_comp_words_by_ref "$@" cur prev words cword
        return
    fi
    local line=$COMP_LINE word glued i
    words=()
    for ((i = 0; i < ${#COMP_WORDS[@]}; i++)); do
        word=${COMP_WORDS[i]} glued=
        [[ $i -gt 0 && $line != [[:space:]]* ]] && glued=1
        line=${line#"${line%%[![:space:]]*}"}
        line=${line#"$word"}
        if [[ $glued ]]; then
            words[${#words[@]}-1]+=$word
        else
            words+=("$word")
        fi
        [[ $i -eq $COMP_CWORD ]] && cword=$((${#words[@]} - 1))
    done
    cur=${words[cword]} prev=
    [[ $cword -gt 0 ]] && prev=${words[cword - 1]}
    return 0
`

// mendBashCompletion has the command that prints the script for bash print one that works without the package
// bash-completion too.
func mendBashCompletion(g *globals, root *cobra.Command) {
	root.InitDefaultCompletionCmd()
	bash, _, err := root.Find([]string{"completion", "bash"})
	if err != nil || bash.Name() != "bash" {
		return
	}
	bash.Long = strings.Replace(bash.Long, "This script depends on the 'bash-completion' package.\nIf it is not installed already, you can install it via your OS's package manager.\n",
		"It works with the package bash-completion and without.\n", 1)
	bash.RunE = func(cmd *cobra.Command, _ []string) error {
		plain, _ := cmd.Flags().GetBool("no-descriptions")
		var script bytes.Buffer
		if err := cmd.Root().GenBashCompletionV2(&script, !plain); err != nil {
			return err
		}
		_, err := g.stdout.Write(bytes.Replace(script.Bytes(), []byte(wordsOfPackage), []byte(wordsOfOwn), 1))
		return err
	}
}
