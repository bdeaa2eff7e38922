-- +goose Up

-- PostgreSQL gets the marks of commits. An embedded database loses no answers.
SELECT 1;
