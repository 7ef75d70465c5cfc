package serve

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
)

// A question is what a consumer asks of a table, as far as its grant lets it.
type question struct {
	columns []string
	filters []condition
	order   string
	falling bool
	page    int
	purpose string
	after   *position
}

// A position is the last row of a page: the values of the column that orders, and of the key. A nil value is NULL.
type position struct {
	Order *string
	Key   []string
}

// A refusal is a right that a consumer does not have.
type refusal struct{ Reason string }

func (r *refusal) Error() string { return r.Reason }

func refused(reason string, values ...any) *refusal { return &refusal{fmt.Sprintf(reason, values...)} }

// ask reads a question from the parameters of a request: columns, purpose, order, limit, cursor, and for each filter
// where=COLUMN.OPERATOR.VALUE.
func ask(d *document, g *grant, parameters url.Values) (*question, error) {
	found := &question{columns: g.Columns, page: min(pageDefault, g.most()), purpose: parameters.Get("purpose")}
	for key, values := range parameters {
		if !slices.Contains([]string{"columns", "purpose", "order", "limit", "cursor", "where"}, key) {
			return nil, wrong(key, "there is no such parameter: they are columns, purpose, where, order, limit and cursor")
		}
		if key != "where" && len(values) != 1 {
			return nil, wrong(key, "it is stated once")
		}
	}
	if wanted := parameters.Get("columns"); wanted != "" {
		found.columns = strings.Split(wanted, ",")
	}
	for index, item := range found.columns {
		if !slices.Contains(g.Columns, item) {
			return nil, refused("column %.80q is not granted", item)
		}
		if slices.Index(found.columns, item) != index {
			return nil, wrong("columns", "%q is there twice", item)
		}
	}
	if len(parameters["where"]) > 20 {
		return nil, wrong("where", "there are at most 20")
	}
	for _, item := range parameters["where"] {
		filter, err := parseFilter(item)
		if err != nil {
			return nil, err
		}
		if err := g.compares(filter.Column); err != nil {
			return nil, err
		}
		found.filters = append(found.filters, filter)
	}
	if order := parameters.Get("order"); order != "" {
		found.order, found.falling = strings.TrimPrefix(order, "-"), strings.HasPrefix(order, "-")
		if err := g.compares(found.order); err != nil {
			return nil, err
		}
	}
	// What is filtered or ordered by is told by the rows that come.
	for _, item := range found.named() {
		if d.class(item) == classPersonal && (found.purpose == "" || found.purpose != g.Purpose) {
			return nil, refused("column %q is personal: state the purpose for which it was granted", item)
		}
	}
	if limit := parameters.Get("limit"); limit != "" {
		rows, err := strconv.Atoi(limit)
		if err != nil || rows < 1 || rows > g.most() {
			return nil, wrong("limit", "it is 1 to %d rows", g.most())
		}
		found.page = rows
	}
	return found, nil
}

func (q *question) named() []string {
	found := slices.Clone(q.columns)
	for _, item := range q.filters {
		found = append(found, item.Column)
	}
	if q.order != "" {
		found = append(found, q.order)
	}
	return found
}

func (g *grant) most() int {
	if g.Page > 0 {
		return g.Page
	}
	return pageMost
}

// compares refuses to filter or order by a column that is not granted, or that is masked: what comes would tell it.
func (g *grant) compares(column string) error {
	if !slices.Contains(g.Columns, column) {
		return refused("column %.80q is not granted", column)
	}
	if g.Masks[column] != "" {
		return refused("column %q is masked: rows are not filtered or ordered by it", column)
	}
	return nil
}

func parseFilter(text string) (condition, error) {
	parts := strings.SplitN(text, ".", 3)
	if len(parts) != 3 {
		return condition{}, wrong("where", "it is COLUMN.OPERATOR.VALUE")
	}
	found := condition{Column: parts[0], Is: parts[1], Values: []string{parts[2]}}
	if found.Is == "in" {
		found.Values = strings.Split(parts[2], ",")
	}
	if bad := found.check("where"); bad != nil {
		return condition{}, bad
	}
	return found, nil
}

// sql is the statement of a question with its parameters. One row more than the page tells whether there is another
// page. The values of the order and of the key come after the columns.
func (q *question) sql(t *table, rows []condition) (string, [][]byte) {
	var values [][]byte
	bind := func(value string) string {
		values = append(values, []byte(value))
		return "$" + strconv.Itoa(len(values))
	}
	var selected, wanted, ordered []string
	for _, item := range q.columns {
		selected = append(selected, quoted(item))
	}
	for _, item := range append(slices.Clone(rows), q.filters...) {
		var alternatives []string
		for _, value := range item.Values {
			alternatives = append(alternatives, compared(item.Column, operators[item.Is], bind(value)))
		}
		wanted = append(wanted, "("+strings.Join(alternatives, " OR ")+")")
	}
	if q.order != "" {
		direction := " ASC NULLS LAST"
		if q.falling {
			direction = " DESC NULLS LAST"
		}
		ordered = append(ordered, quoted(q.order)+direction)
		selected = append(selected, quoted(q.order))
	}
	for _, item := range t.Key {
		ordered = append(ordered, quoted(item))
		selected = append(selected, quoted(item))
	}
	if q.after != nil {
		wanted = append(wanted, q.following(t, bind))
	}
	text := "SELECT " + strings.Join(selected, ", ") + " FROM " + pgx.Identifier{t.Schema, t.Name}.Sanitize()
	if len(wanted) > 0 {
		text += " WHERE " + strings.Join(wanted, " AND ")
	}
	return text + " ORDER BY " + strings.Join(ordered, ", ") + " LIMIT " + strconv.Itoa(q.page+1), values
}

// following is the condition of the rows after a position. Each value is one parameter: the server refuses those that
// no condition has.
func (q *question) following(t *table, bind func(string) string) string {
	var later, same []string
	for index, item := range t.Key {
		value := bind(q.after.Key[index])
		later = append(later, "("+strings.Join(append(slices.Clone(same), compared(item, ">", value)), " AND ")+")")
		same = append(same, compared(item, "=", value))
	}
	key := "(" + strings.Join(later, " OR ") + ")"
	switch {
	case q.order == "":
		return key
	case q.after.Order == nil:
		return "(" + quoted(q.order) + " IS NULL AND " + key + ")"
	}
	beyond, value := ">", bind(*q.after.Order)
	if q.falling {
		beyond = "<"
	}
	return "(" + compared(q.order, beyond, value) + " OR " + compared(q.order, "=", value) + " AND " + key +
		" OR " + quoted(q.order) + " IS NULL)"
}

// compared has an operator of the server's own: the owner of a database could have made another of the same name.
func compared(column, operator, value string) string {
	return quoted(column) + " OPERATOR(pg_catalog." + operator + ") " + value
}

func quoted(column string) string { return pgx.Identifier{column}.Sanitize() }

// cursors are positions that nobody but this program can read or make: a key need not be among the granted columns.
type cursors struct{ sealing cipher.AEAD }

func newCursors(secret string) (*cursors, error) {
	key := sha256.Sum256([]byte("cursors:" + secret))
	block, err := aes.NewCipher(key[:])
	if err != nil {
		return nil, err
	}
	sealing, err := cipher.NewGCM(block)
	return &cursors{sealing}, err
}

// seal makes a cursor that is good for the same question of the same account alone.
func (c *cursors) seal(last position, use []byte) (string, error) {
	text, err := json.Marshal(last)
	if err != nil {
		return "", err
	}
	nonce := make([]byte, c.sealing.NonceSize())
	if _, err := rand.Read(nonce); err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(c.sealing.Seal(nonce, nonce, text, use)), nil
}

func (c *cursors) open(cursor string, use []byte, keys int) (*position, error) {
	sealed, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil || len(sealed) < c.sealing.NonceSize() {
		return nil, wrong("cursor", "it is none of this server")
	}
	size := c.sealing.NonceSize()
	text, err := c.sealing.Open(nil, sealed[:size], sealed[size:], use)
	if err != nil {
		return nil, wrong("cursor", "it is none of this server for this account and these parameters")
	}
	found := &position{}
	if err := json.Unmarshal(text, found); err != nil || len(found.Key) != keys {
		return nil, wrong("cursor", "it is of another version of the asset: begin with the first page")
	}
	return found, nil
}

// use is what a cursor is good for: who asks which version of which asset what.
func (q *question) use(account string, asset name, version int64) []byte {
	text, _ := json.Marshal([]any{account, asset, version, q.columns, q.filters, q.order, q.falling})
	return text
}
