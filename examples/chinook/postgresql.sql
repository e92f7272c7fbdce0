-- The two tables of Chinook that the example reads, under the names and types that they have there.

CREATE TABLE "Customer" (
    "CustomerId"   integer PRIMARY KEY,
    "FirstName"    varchar(40) NOT NULL,
    "LastName"     varchar(20) NOT NULL,
    "Company"      varchar(80),
    "Address"      varchar(70),
    "City"         varchar(40),
    "State"        varchar(40),
    "Country"      varchar(40),
    "PostalCode"   varchar(10),
    "Phone"        varchar(24),
    "Fax"          varchar(24),
    "Email"        varchar(60) NOT NULL,
    "SupportRepId" integer
);

CREATE TABLE "Invoice" (
    "InvoiceId"         integer PRIMARY KEY,
    "CustomerId"        integer NOT NULL REFERENCES "Customer",
    "InvoiceDate"       timestamp NOT NULL,
    "BillingAddress"    varchar(70),
    "BillingCity"       varchar(40),
    "BillingState"      varchar(40),
    "BillingCountry"    varchar(40),
    "BillingPostalCode" varchar(10),
    "Total"             numeric(10, 2) NOT NULL
);
