package inputs

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/dtpnode/dtpnode/rootexec"
)

// Objects reads what --input names: ROOT files whose objects are to be in fInput, or FILE:name,name for some of them.
// The files are those of this host, or URLs.
func Objects(specs []string) ([]rootexec.InputFile, error) {
	var out []rootexec.InputFile
	for _, spec := range specs {
		f := rootexec.InputFile{Path: spec}
		if at := strings.LastIndex(spec, ":"); at > 0 && !isFile(spec) && !strings.HasPrefix(spec[at:], "://") {
			f.Path, f.Names = spec[:at], strings.Split(spec[at+1:], ",")
		}
		for _, name := range f.Names {
			if name == "" {
				return nil, fmt.Errorf("could not use --input %q: want FILE or FILE:name,name", spec)
			}
		}
		if f.Path == "" {
			return nil, fmt.Errorf("could not use --input %q: want FILE or FILE:name,name", spec)
		}
		if !strings.Contains(f.Path, "://") {
			abs, err := filepath.Abs(f.Path)
			if err != nil {
				return nil, fmt.Errorf("could not use --input %q: %w", spec, err)
			}
			if _, err := os.Stat(abs); err != nil {
				return nil, fmt.Errorf("could not use --input %q: %w", spec, err)
			}
			f.Path = abs
		}
		out = append(out, f)
	}
	return out, nil
}
