package main

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// wordsOfPackage is the line in cobra's script that asks the package bash-completion for the words on the command line.
const wordsOfPackage = `    _get_comp_words_by_ref "$@" cur prev words cword
`

// wordsOfOwn replaces it, and works without that package too: bash splits words at = and :, which are parts of words
// here.
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

// filesOfPackage is the function of the package bash-completion by which cobra's script offers files.
const filesOfPackage = "_filedir"

// filesOfOwn replaces it. Without the package it offers the files whose names end with a pattern of _filedir, and all
// folders.
const filesOfOwn = `
__dtpnode_filedir() {
    if declare -F _filedir >/dev/null 2>&1; then
        _filedir "$@"
        return
    fi
    local entry
    compopt -o filenames 2>/dev/null
    while IFS= read -r entry; do
        if [[ -d $entry ]] || [[ $1 != -d && ( -z $1 || $entry == *.@(${1%|}) ) ]]; then
            COMPREPLY+=("$entry")
        fi
    done < <(compgen -f -- "$cur")
}
`

// mendBashCompletion changes the bash completion script so that it works without the package bash-completion too.
func mendBashCompletion(g *globals, root *cobra.Command) {
	root.InitDefaultCompletionCmd()
	if completion, _, err := root.Find([]string{"completion"}); err == nil {
		completion.Args = knownCommand
		completion.RunE = func(*cobra.Command, []string) error {
			return usagef("dtpnode completion: want bash, zsh, fish or powershell")
		}
	}
	bash, _, err := root.Find([]string{"completion", "bash"})
	if err != nil || bash.Name() != "bash" {
		return
	}
	bash.Long = strings.Replace(bash.Long,
		"This script depends on the 'bash-completion' package.\nIf it is not installed already, you can install it via "+
			"your OS's package manager.\n",
		"It works with the package bash-completion and without.\n", 1)
	bash.RunE = func(cmd *cobra.Command, _ []string) error {
		plain, _ := cmd.Flags().GetBool("no-descriptions")
		var script bytes.Buffer
		if err := cmd.Root().GenBashCompletionV2(&script, !plain); err != nil {
			return err
		}
		mended := bytes.Replace(script.Bytes(), []byte(wordsOfPackage), []byte(wordsOfOwn), 1)
		mended = bytes.ReplaceAll(mended, []byte(filesOfPackage), []byte("__dtpnode_filedir"))
		_, err := fmt.Fprintf(g.stdout, "%s%s", mended, filesOfOwn)
		return err
	}
}
