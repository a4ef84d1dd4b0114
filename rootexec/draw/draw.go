// Package draw has the selector behind `dtpnode draw`: what TTree::Draw does, in parts that merge. It is a job as any
// other; its source is compiled once for each ROOT, as users' selectors are.
package draw

import (
	"crypto/sha256"
	"embed"
	"fmt"
	"os"
	"path/filepath"

	"github.com/dtpnode/dtpnode/internal/durable"
)

//go:embed DtpnodeDraw.C DtpnodeDraw.h DtpnodeLabels.h
var sources embed.FS

// Most is how many rows of values without limits are kept until all are known, as TTree::Draw keeps them (its
// estimate). Beyond that a second pass fills them.
const Most = 1_000_000

// Selector writes the selector into a folder of cache that is named after its content, and returns its path.
func Selector(cache string) (string, error) {
	names := []string{"DtpnodeDraw.C", "DtpnodeDraw.h", "DtpnodeLabels.h"}
	sum := sha256.New()
	texts := map[string][]byte{}
	for _, name := range names {
		text, err := sources.ReadFile(name)
		if err != nil {
			return "", err
		}
		texts[name] = text
		fmt.Fprintf(sum, "%s %d\n%s", name, len(text), text)
	}
	dir := filepath.Join(cache, "draw", fmt.Sprintf("%x", sum.Sum(nil)[:8]))
	for _, name := range names {
		path := filepath.Join(dir, name)
		if _, err := os.Stat(path); err == nil {
			continue
		}
		if err := durable.Write(path, texts[name]); err != nil {
			return "", fmt.Errorf("could not write the selector that draws: %w", err)
		}
	}
	return filepath.Join(dir, names[0]), nil
}
