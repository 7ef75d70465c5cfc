package serve

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// A name is that of an asset: its owner's tenant and app, and its own.
type name struct{ Tenant, App, Asset string }

func (n name) String() string { return n.Tenant + "/" + n.App + "/" + n.Asset }

// A document is what an owner says of an asset: what it is, what comes of what, and who may read which part of it.
type document struct {
	Kind        string   `json:"kind"`
	Title       string   `json:"title"`
	Description string   `json:"description,omitempty"`
	Sharing     string   `json:"sharing"`
	Columns     []column `json:"columns,omitempty"`
	// Sources are the assets that this one is made of, as TENANT/APP/ASSET.
	Sources []string `json:"sources,omitempty"`
	Table   *table   `json:"table,omitempty"`
	Grants  []grant  `json:"grants,omitempty"`
}

type column struct {
	Name  string `json:"name"`
	Class string `json:"class"`
	Title string `json:"title,omitempty"`
}

// A table is where an asset is stored: in a database of the one server that this program reads. Key are the columns
// by which rows are told apart, and in whose order pages follow one another.
type table struct {
	Database string   `json:"database"`
	Schema   string   `json:"schema"`
	Name     string   `json:"name"`
	Key      []string `json:"key"`
}

// A grant says what an app of a tenant may read; any app of the tenant where App is empty.
type grant struct {
	Tenant  string            `json:"tenant"`
	App     string            `json:"app,omitempty"`
	Columns []string          `json:"columns"`
	Rows    []condition       `json:"rows,omitempty"`
	Masks   map[string]string `json:"masks,omitempty"`
	// Purpose is what personal data may be read for. Who reads it has to state the same.
	Purpose string `json:"purpose,omitempty"`
	// Page is the number of rows in a page at most, Minute how many calls are answered in a minute.
	Page   int `json:"page,omitempty"`
	Minute int `json:"minute,omitempty"`
}

// A condition compares a column with values. They are only ever sent as parameters.
type condition struct {
	Column string   `json:"column"`
	Is     string   `json:"is"`
	Values []string `json:"values"`
}

// Levels of sharing are those of the State Council's measures on sharing government data (国发〔2016〕51号).
const (
	shareAll  = "unconditional" // 无条件共享
	shareSome = "conditional"   // 有条件共享
	shareNone = "none"          // 不予共享

	classOpen, classInternal, classPersonal = "open", "internal", "personal"
	maskHash, maskPartial                   = "hash", "partial"

	pageDefault, pageMost     = 100, 1000
	minuteDefault, minuteMost = 60, 6000
	documentMost              = 64 << 10
	valueMost                 = 1000
)

var (
	partForm     = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
	operators    = map[string]string{"eq": "=", "ne": "<>", "lt": "<", "le": "<=", "gt": ">", "ge": ">=", "in": "="}
	documentKind = []string{"table", "file", "service"}
)

// A fault is what is wrong with a request, and in which field.
type fault struct{ Field, Reason string }

func (f *fault) Error() string { return f.Field + ": " + f.Reason }

func wrong(field, reason string, values ...any) *fault {
	return &fault{field, fmt.Sprintf(reason, values...)}
}

// parse reads a document of an owner and says what is wrong with it first.
func parse(text []byte, owner name) (*document, *fault) {
	decoder := json.NewDecoder(strings.NewReader(string(text)))
	decoder.DisallowUnknownFields()
	found := &document{}
	if err := decoder.Decode(found); err != nil {
		return nil, wrong("(document)", "it is no JSON of an asset: %s", err)
	}
	if decoder.More() {
		return nil, wrong("(document)", "there is something after its end")
	}
	return found, found.check(owner)
}

func (d *document) check(owner name) *fault {
	if !slices.Contains(documentKind, d.Kind) {
		return wrong("kind", "it is one of %s", strings.Join(documentKind, ", "))
	}
	if bad := text("title", d.Title, 1, 200); bad != nil {
		return bad
	}
	if bad := text("description", d.Description, 0, 4000); bad != nil {
		return bad
	}
	if !slices.Contains([]string{shareAll, shareSome, shareNone}, d.Sharing) {
		return wrong("sharing", "it is one of %s, %s, %s", shareAll, shareSome, shareNone)
	}
	if len(d.Columns) > 500 || len(d.Grants) > 200 || len(d.Sources) > 100 {
		return wrong("(document)", "it has at most 500 columns, 200 grants and 100 sources")
	}
	known := map[string]bool{}
	for index, item := range d.Columns {
		field := fmt.Sprintf("columns[%d]", index)
		if bad := identifier(field+".name", item.Name); bad != nil {
			return bad
		}
		if known[item.Name] {
			return wrong(field+".name", "there are two columns %q", item.Name)
		}
		known[item.Name] = true
		if !slices.Contains([]string{classOpen, classInternal, classPersonal}, item.Class) {
			return wrong(field+".class", "it is one of %s, %s, %s", classOpen, classInternal, classPersonal)
		}
		if bad := text(field+".title", item.Title, 0, 200); bad != nil {
			return bad
		}
	}
	for index, item := range d.Sources {
		field := fmt.Sprintf("sources[%d]", index)
		source, ok := parseName(item)
		if !ok {
			return wrong(field, "it is TENANT/APP/ASSET")
		}
		if source == owner {
			return wrong(field, "an asset is not made of itself")
		}
	}
	if bad := d.checkTable(known); bad != nil {
		return bad
	}
	granted := map[string]bool{}
	for index, item := range d.Grants {
		field := fmt.Sprintf("grants[%d]", index)
		if bad := d.checkGrant(field, item, owner); bad != nil {
			return bad
		}
		consumer := item.Tenant + "/" + item.App
		if granted[consumer] {
			return wrong(field, "there are two grants to %s", strings.TrimSuffix(consumer, "/"))
		}
		granted[consumer] = true
	}
	return nil
}

func (d *document) checkTable(known map[string]bool) *fault {
	if d.Table == nil {
		if len(d.Grants) > 0 {
			return wrong("grants", "only an asset with a table can be read by others here")
		}
		return nil
	}
	if d.Kind != "table" {
		return wrong("table", "an asset of the kind %s has none", d.Kind)
	}
	for field, value := range map[string]string{
		"table.database": d.Table.Database, "table.schema": d.Table.Schema, "table.name": d.Table.Name,
	} {
		if bad := identifier(field, value); bad != nil {
			return bad
		}
	}
	if len(d.Table.Key) < 1 || len(d.Table.Key) > 8 {
		return wrong("table.key", "it names the 1 to 8 columns by which rows are told apart")
	}
	for index, item := range d.Table.Key {
		if !known[item] {
			return wrong(fmt.Sprintf("table.key[%d]", index), "%q is not among the columns", item)
		}
	}
	return nil
}

func (d *document) checkGrant(field string, item grant, owner name) *fault {
	if !partForm.MatchString(item.Tenant) || item.App != "" && !partForm.MatchString(item.App) {
		return wrong(field, "tenant and app are names of the city's files")
	}
	if d.Sharing == shareNone && item.Tenant != owner.Tenant {
		return wrong(field+".tenant", "what is not shared is granted to apps of %s alone", owner.Tenant)
	}
	if len(item.Columns) == 0 {
		return wrong(field+".columns", "it names a column at least")
	}
	for index, column := range item.Columns {
		place := fmt.Sprintf("%s.columns[%d]", field, index)
		class := d.class(column)
		if class == "" {
			return wrong(place, "%q is not among the columns", column)
		}
		if slices.Index(item.Columns, column) != index {
			return wrong(place, "%q is there twice", column)
		}
		if class == classPersonal && strings.TrimSpace(item.Purpose) == "" {
			return wrong(field+".purpose", "%q is personal: say what it may be read for", column)
		}
	}
	if bad := text(field+".purpose", item.Purpose, 0, 200); bad != nil {
		return bad
	}
	for column, mask := range item.Masks {
		if !slices.Contains(item.Columns, column) {
			return wrong(field+".masks", "%q is not among the columns of the grant", column)
		}
		if mask != maskHash && mask != maskPartial {
			return wrong(field+".masks."+column, "it is one of %s, %s", maskHash, maskPartial)
		}
		if slices.Contains(d.Table.Key, column) {
			return wrong(field+".masks."+column, "pages follow the key, so that no column of it can be masked")
		}
	}
	for index, item := range item.Rows {
		place := fmt.Sprintf("%s.rows[%d]", field, index)
		if d.class(item.Column) == "" {
			return wrong(place+".column", "%q is not among the columns", item.Column)
		}
		if bad := item.check(place); bad != nil {
			return bad
		}
	}
	if item.Page < 0 || item.Page > pageMost {
		return wrong(field+".page", "it is 1 to %d rows", pageMost)
	}
	if item.Minute < 0 || item.Minute > minuteMost {
		return wrong(field+".minute", "it is 1 to %d calls", minuteMost)
	}
	return nil
}

func (c condition) check(field string) *fault {
	if operators[c.Is] == "" {
		return wrong(field+".is", "it is one of eq, ne, lt, le, gt, ge, in")
	}
	if c.Is != "in" && len(c.Values) != 1 || len(c.Values) < 1 || len(c.Values) > 100 {
		return wrong(field+".values", "it is one value, and up to 100 of `in`")
	}
	for index, item := range c.Values {
		if bad := text(fmt.Sprintf("%s.values[%d]", field, index), item, 0, valueMost); bad != nil {
			return bad
		}
	}
	return nil
}

// class is that of a column, empty if there is none of that name.
func (d *document) class(wanted string) string {
	for _, item := range d.Columns {
		if item.Name == wanted {
			return item.Class
		}
	}
	return ""
}

// granted is what an app may read, nil if it is nothing. A grant to the app itself goes before one to its tenant; what
// is shared unconditionally has its open columns for everybody else.
func (d *document) granted(tenant, app string) *grant {
	var found *grant
	for index, item := range d.Grants {
		if item.Tenant == tenant && (item.App == app || item.App == "" && found == nil) {
			found = &d.Grants[index]
		}
		if found != nil && found.App == app {
			break
		}
	}
	if found != nil || d.Sharing != shareAll || d.Table == nil {
		return found
	}
	open := grant{Tenant: tenant, App: app}
	for _, item := range d.Columns {
		if item.Class == classOpen {
			open.Columns = append(open.Columns, item.Name)
		}
	}
	if len(open.Columns) == 0 {
		return nil
	}
	return &open
}

// visible is whether apps of a tenant see that there is the asset.
func (d *document) visible(owner name, tenant string) bool {
	return d.Sharing != shareNone || owner.Tenant == tenant
}

func parseName(whole string) (name, bool) {
	parts := strings.Split(whole, "/")
	if len(parts) != 3 {
		return name{}, false
	}
	for _, part := range parts {
		if !partForm.MatchString(part) {
			return name{}, false
		}
	}
	return name{parts[0], parts[1], parts[2]}, true
}

// identifier says what is wrong with a name in PostgreSQL: longer ones would be cut by the server without a word.
func identifier(field, value string) *fault {
	return text(field, value, 1, 63)
}

// text says what is wrong with a text, of which PostgreSQL takes no zero byte.
func text(field, value string, least, most int) *fault {
	if len(value) < least || len(value) > most || !utf8.ValidString(value) || strings.ContainsRune(value, 0) {
		return wrong(field, "it is a text of %d to %d bytes", least, most)
	}
	return nil
}
