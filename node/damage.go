package node

import (
	"errors"
	"net/http"
	"path/filepath"
	"strings"

	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/node/store"
)

// unreadable finds a job whose status cannot be read among those that are kept here; nil if that is not why it is not
// known.
func (d *Daemon) unreadable(name string) error {
	dirs, _ := filepath.Glob(d.results.FolderOf(name + "*"))
	if name == "" || strings.ContainsAny(name, `*?[\/`) || len(dirs) != 1 {
		return nil
	}
	if _, err := d.results.Status(filepath.Base(dirs[0])); err != nil {
		return toldDamage(err)
	}
	return nil
}

// toldDamage is an error of the store as it is told to users: what is damaged with what to do about it.
func toldDamage(err error) error {
	var damage *store.Damage
	if !errors.As(err, &damage) {
		return err
	}
	return &api.Error{Status: http.StatusInternalServerError, Message: damage.Text, Hint: damage.Mend, Err: err}
}
