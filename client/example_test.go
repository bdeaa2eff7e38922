package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/google/uuid"

	"herald/client"
)

func ExampleAPI_Publish() {
	ctx := context.Background()
	c, err := client.New("http://127.0.0.1:8080", "hk…")
	if err != nil {
		fmt.Println(err)
		return
	}
	receipt, err := c.Publish(ctx, client.Event{
		Type:      "Sync Completed",
		CompanyID: uuid.MustParse("8a210b68-6988-11ed-a1eb-0242ac120002"),
		Data:      json.RawMessage(`{"syncId":"321363b4-efa9-4fbc-b71c-0b58d62f3248","syncType":"Expense"}`),
	})
	if err != nil {
		fmt.Println("not accepted:", err)
		return
	}
	fmt.Println("accepted as", receipt.EventID, "raising", receipt.AlertCount, "alerts")
}

func ExampleAPI_CreateRule() {
	ctx := context.Background()
	c, err := client.New("http://127.0.0.1:8080", "hk…")
	if err != nil {
		fmt.Println(err)
		return
	}
	rule, err := c.CreateRule(ctx, client.Rule{
		Type:      "Sync Failed", // of all companies, as none is named
		Notifiers: client.Notifiers{Webhook: "https://acme.example/hook"},
	})
	if err != nil {
		fmt.Println("not made:", err)
		return
	}
	fmt.Println("made rule", rule.ID)
}

// ExampleAPI_AllDeliveries redelivers what failed within the last day.
func ExampleAPI_AllDeliveries() {
	ctx := context.Background()
	c, err := client.New("http://127.0.0.1:8080", "hk…")
	if err != nil {
		fmt.Println(err)
		return
	}
	failed := client.DeliveryFilter{State: "failed", Since: time.Now().Add(-24 * time.Hour)}
	for d, err := range c.AllDeliveries(ctx, failed) {
		if err != nil {
			fmt.Println("the list broke off:", err)
			return
		}
		if _, err := c.Redeliver(ctx, d.ID); err != nil {
			fmt.Println(d.ID, "is not sent again:", err)
		}
	}
}

// ExampleError distinguishes an error that the service answered with from a service that cannot be reached.
func ExampleError() {
	ctx := context.Background()
	c, err := client.New("http://127.0.0.1:8080", "hk…")
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = c.Rule(ctx, uuid.MustParse("8a210b68-6988-11ed-a1eb-0242ac120002"))
	var answer *client.Error
	switch {
	case err == nil:
		fmt.Println("it is there")
	case errors.As(err, &answer) && answer.StatusCode == http.StatusNotFound:
		fmt.Println("there is no such rule")
	case errors.As(err, &answer):
		fmt.Println("quote to the operator:", answer.CorrelationID)
	default:
		fmt.Println("no answer:", err)
	}
}
