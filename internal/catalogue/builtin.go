package catalogue

import (
	"encoding/json"
	"fmt"
	"regexp"

	"herald"
)

const (
	newCompany         = "New company synchronised"
	newCompanyAmerican = "New company synchronized"
)

var (
	connectionStatuses = []string{"PendingAuth", "Linked", "Unlinked", "Deauthorized"}
	datasetErrors      = []string{"FetchError", "MapError", "InternalError", "ProcessingError", "ValidationError", "AuthError",
		"RateLimitError", "PermissionsError", "PrerequisiteNotMet"}
	pushStatuses = []string{"Pending", "Failed", "Success", "TimedOut"}
)

// builtin returns the types of spec section 8 in its order, then Herald's own (internal/notify), then the
// retired types of section 5.3. The caller owns the values and may change them.
func builtin() []*Type {
	dataset := []field{{name: "dataType"}, {name: "datasetId"}}
	sync := []field{{name: "syncId"}, {name: "syncType"}}
	failing := []field{{name: "failingAttempts", kind: number}, {name: "failedDeliveries", kind: number}, {name: "reason"}, {name: "description"},
		{name: "link", kind: textOrNull, optional: true}}
	types := []*Type{
		{Name: "DataConnectionStatusChanged", Label: "Company data connection status changed",
			Spellings: []string{"dataconnection-status-changed"}, Company: true, Connection: true, data: dataWithoutPlatformName,
			fields: []field{{name: "dataConnectionId"}, {name: "newStatus", values: connectionStatuses},
				{name: "oldStatus", values: connectionStatuses}, {name: "platformKey"}},
			message: wording("Data connection for {platformName} status changed from {oldStatus} to {newStatus}"),
			Example: json.RawMessage(`{"dataConnectionId":"ee2eb431-c0fa-4dc9-93fa-d29781c12bcd","newStatus":"Linked","oldStatus":"PendingAuth","platformKey":"gbol"}`)},
		{Name: newCompany, Label: newCompanyAmerican, Company: true, Connection: true, data: dataNone,
			Spellings: []string{newCompanyAmerican, "company-new", "NewCompanySynchronized"},
			message:   wording("Company {companyId} synced for the first time")},
		{Name: "Data sync completed", Label: "Data sync completed", Company: true, Connection: true,
			Spellings: []string{"pull-operation-complete", "DataSyncCompleted"}, fields: dataset,
			message: wording("Data sync of type {dataType} completed for company {companyId}"),
			Example: json.RawMessage(`{"dataType":"invoices","datasetId":"cd937d46-8e41-43a9-9477-a79158ffd98a"}`)},
		{Name: "Dataset data changed", Label: "Dataset data changed", Company: true, Connection: true,
			Spellings: []string{"dataconnection-data-changed", "DatasetDataChanged"}, fields: dataset,
			message: wording("Data has changed for dataset type {dataType}, company {companyId}"),
			Example: json.RawMessage(`{"dataType":"invoices","datasetId":"cd937d46-8e41-43a9-9477-a79158ffd98a"}`)},
		{Name: "Data Sync Status Changed To Error", Label: "Dataset status has changed to an error state", Company: true, Connection: true,
			Spellings: []string{"Data Sync Status Changed to Error", "pull-operation-failed", "DataSyncStatusChangedToError"},
			fields:    []field{{name: "dataType"}, {name: "datasetStatus", values: datasetErrors}, {name: "datasetId"}},
			message:   wording("ERROR: syncing {dataType} triggered a {datasetStatus} notification at {timestamp}."), stamp: stampSevenDigits,
			Example: json.RawMessage(`{"dataType":"invoices","datasetStatus":"ProcessingError","datasetId":"cd937d46-8e41-43a9-9477-a79158ffd98a"}`)},
		{Name: "Push Operation Status Changed()", Label: "Push operation status has changed", Company: true, Connection: true,
			Spellings: []string{"Push Operation Status Changed", "push-operation-complete", "PushOperationStatusChanged"},
			fields:    []field{{name: "dataType"}, {name: "status", values: pushStatuses}, {name: "pushOperationKey"}},
			message:   wording("{dataType} triggered notification for PushOperationStatusChanged at {timestamp}"), stamp: stampMilliseconds,
			Example: json.RawMessage(`{"dataType":"invoices","status":"Success","pushOperationKey":"54afd9ed-9a2e-4a0a-a4f1-1b5b2f0d6c1e"}`)},
		{Name: "Push Operation Timed Out", Label: "Push operation has timed out", Company: true, Connection: true, data: dataWithBothPushKeys,
			Spellings: []string{"push-operation-timed-out", "PushOperationTimedOut"},
			fields:    []field{{name: "dataType"}, {name: "pushOperationKey"}, {name: "pushOperationGuid", optional: true}},
			message:   wording("ERROR: pushing {dataType} never finished in time, timing out at {timestamp}"), stamp: stampSeconds,
			Example: json.RawMessage(`{"dataType":"invoices","pushOperationKey":"54afd9ed-9a2e-4a0a-a4f1-1b5b2f0d6c1e","pushOperationGuid":"54afd9ed-9a2e-4a0a-a4f1-1b5b2f0d6c1e"}`)},
		{Name: "Account Categories Updated", Label: "Account categories updated", Company: true, Connection: true,
			Spellings: []string{"account-categories-updated", "AccountCategoriesUpdated"}, fields: []field{{name: "modifiedDate"}},
			message: wording("Account categories updated for company {companyId}."),
			Example: json.RawMessage(`{"modifiedDate":"2022-09-08T16:00:13.7714779+00:00"}`)},
		{Name: "Sync Connection Deleted", Label: "Sync Connection Deleted", Company: true, data: dataNone,
			Spellings: []string{"sync-connection-deleted", "SyncConnectionDeleted"},
			message:   wording("Sync connection for company {companyId} deleted")},
		{Name: "Sync Completed", Label: "Expenses sync completed", Company: true,
			Spellings: []string{"sync-complete", "SyncCompleted"}, fields: sync,
			message: wording("Sync {syncId} for company {companyId} of type {syncType} completed successfully."),
			Example: json.RawMessage(`{"syncId":"321363b4-efa9-4fbc-b71c-0b58d62f3248","syncType":"Expense"}`)},
		{Name: "Sync Failed", Label: "Expenses sync failed", Company: true,
			Spellings: []string{"sync-failed", "SyncFailed"}, fields: []field{{name: "syncId"}, {name: "syncType"}, {name: "FailureStage"}},
			message: wording("Sync {syncId} for company {companyId} of type {syncType} has failed at step {FailureStage}."),
			Example: json.RawMessage(`{"syncId":"321363b4-efa9-4fbc-b71c-0b58d62f3248","syncType":"Expense","FailureStage":"Pushing"}`)},
		{Name: "Rate Limit Reached", Label: "Client rate limit reached", Spellings: []string{"ClientRateLimitReached"},
			fields:  []field{{name: "DailyQuota", kind: number}, {name: "ExpiresUtc"}},
			message: wording("The current daily rate limit quota of {DailyQuota} requests for {clientId} has been reached."),
			Example: json.RawMessage(`{"DailyQuota":1000,"ExpiresUtc":"2023-05-03T00:00:00Z"}`)},
		{Name: "Rate Limit Reset", Label: "Client rate limit reset", Spellings: []string{"ClientRateLimitReset"},
			fields: []field{{name: "QuotaRemaining", kind: numberOrNull, optional: true}, {name: "ResetReason"},
				{name: "DailyQuota", kind: numberOrNull, optional: true}, {name: "ExpiresUtc", kind: textOrNull, optional: true}},
			message: wording("The current daily rate limit quota for client {clientId} has been reset to {DailyQuota} requests."),
			Example: json.RawMessage(`{"QuotaRemaining":1000,"ResetReason":"The quota was reset because it is a new day.","DailyQuota":1000,"ExpiresUtc":"2023-05-03T00:00:00Z"}`)},
		{Name: "Sync Started", Label: "Expense sync started", Spellings: []string{"SyncStarted"}, Company: true, fields: sync,
			message: wording("Sync {syncId} for company {companyId} of type {syncType} has started."),
			Example: json.RawMessage(`{"syncId":"321363b4-efa9-4fbc-b71c-0b58d62f3248","syncType":"Expense"}`)},
		{Name: herald.ReceiverFailing, Label: "Receiver is failing", Spellings: []string{"ReceiverFailing"},
			fields:  append([]field{{name: "issueId"}, {name: "receiver"}, {name: "since"}}, failing...),
			message: wording("Deliveries to {receiver} have been failing since {since}. {description}"),
			Example: json.RawMessage(`{"issueId":"019ab0c1-4444-7111-8111-111111111111","receiver":"https://acme.example/hook","since":"2026-11-23T09:00:12Z","failingAttempts":12,"failedDeliveries":3,"reason":"status","description":"Your server answered 503."}`)},
		{Name: herald.ReceiverRecovered, Label: "Receiver has recovered", Spellings: []string{"ReceiverRecovered"},
			fields:  append([]field{{name: "issueId"}, {name: "receiver"}, {name: "since"}, {name: "recoveredAt"}}, failing...),
			message: wording("Deliveries to {receiver} succeed again since {recoveredAt}. They had been failing since {since}. {description}"),
			Example: json.RawMessage(`{"issueId":"019ab0c1-4444-7111-8111-111111111111","receiver":"https://acme.example/hook","since":"2026-11-23T09:00:12Z","recoveredAt":"2026-11-23T09:31:00Z","failingAttempts":40,"failedDeliveries":11,"reason":"status","description":"Your server answered 503."}`)},
		{Name: "CompanyStatusChanged", Label: "CompanyStatusChanged", Company: true, Retired: true},
	}
	for _, t := range types {
		t.BuiltIn = true
		t.Delivered = t.Name
	}
	return types
}

// wording parses the message template of a built-in type.
func wording(text string) template {
	t, err := parseTemplate(text)
	if err != nil {
		panic(fmt.Sprintf("catalogue: wording %q: %v", text, err))
	}
	return t
}

// ratios matches the retired types that have parameters (spec section 5.3, row 16).
var ratios = regexp.MustCompile(`(?i)^(CurrentAssetsCurrentLiabilitiesRatio|DebtorsOutstandingLoanOutstandingRatio)\([<>],\s*-?[0-9.]{1,20}\)$`)

func ratio(spelling string) (*Type, bool) {
	if len(spelling) > 100 || !ratios.MatchString(spelling) {
		return nil, false
	}
	return &Type{Name: spelling, Delivered: spelling, Label: spelling, Company: true, BuiltIn: true, Retired: true}, true
}
