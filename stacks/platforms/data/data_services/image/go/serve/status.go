package serve

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// sharing is a grant of personal data to another tenant, for those who review it.
type sharing struct {
	Asset    string            `json:"asset"`
	Consumer string            `json:"consumer"`
	Columns  []string          `json:"columns"`
	Masks    map[string]string `json:"masks,omitempty"`
	Purpose  string            `json:"purpose"`
}

// A status is what the server says of itself: how many assets there are, which personal data other tenants may read, and
// which assets could not be read when they were asked for the last time, within a day.
type status struct {
	Assets  int       `json:"assets"`
	Sharing []sharing `json:"sharing"`
	Failing []string  `json:"failing"`
}

func (c *catalogue) status(ctx context.Context) (*status, error) {
	found := &status{Sharing: []sharing{}, Failing: []string{}}
	if err := c.pool.QueryRow(ctx, `SELECT count(*) FROM assets WHERE tenant <> 'capability'`).Scan(&found.Assets); err != nil {
		return nil, err
	}
	granting, err := c.query(ctx, `SELECT `+assetColumns+` FROM assets WHERE document -> 'grants' IS NOT NULL
		AND jsonb_path_exists(document, '$.columns[*] ? (@.class == "personal")') ORDER BY tenant, app, asset LIMIT 10000`)
	if err != nil {
		return nil, err
	}
	for _, item := range granting {
		for _, grant := range item.document.Grants {
			one := sharing{item.name.String(), grant.Tenant, nil, grant.Masks, grant.Purpose}
			if grant.App != "" {
				one.Consumer += "/" + grant.App
			}
			for _, column := range grant.Columns {
				if item.document.class(column) == classPersonal {
					one.Columns = append(one.Columns, column)
				}
			}
			if grant.Tenant != item.name.Tenant && one.Columns != nil && len(found.Sharing) < 1000 {
				found.Sharing = append(found.Sharing, one)
			}
		}
	}
	rows, err := c.pool.Query(ctx, `SELECT tenant || '/' || app || '/' || asset FROM (
		SELECT DISTINCT ON (tenant, app, asset) tenant, app, asset, outcome FROM calls
		WHERE at > now() - interval '1 day' AND outcome IN ($1, $2) ORDER BY tenant, app, asset, number DESC
	) latest WHERE outcome = $2 ORDER BY 1 LIMIT 100`, served, failing)
	if err != nil {
		return nil, err
	}
	failed, err := pgx.CollectRows(rows, pgx.RowTo[string])
	found.Failing = append(found.Failing, failed...)
	return found, err
}
