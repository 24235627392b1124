# Tells a person when the month's bill is half spent, nearly spent, or will be overspent. It stops nothing by itself.

locals {
  alarms = {
    half     = { threshold = 50, type = "ACTUAL" }
    nearly   = { threshold = 90, type = "ACTUAL" }
    forecast = { threshold = 100, type = "FORECASTED" }
  }
}

resource "aws_budgets_budget" "month" {
  name         = "${var.name}-month"
  budget_type  = "COST"
  limit_amount = tostring(var.monthly_usd)
  limit_unit   = "USD"
  time_unit    = "MONTHLY"

  # The whole account: a filter on a tag would miss what nobody tagged, and works only after the tag is activated for billing.
  dynamic "notification" {
    for_each = local.alarms

    content {
      comparison_operator        = "GREATER_THAN"
      threshold                  = notification.value.threshold
      threshold_type             = "PERCENTAGE"
      notification_type          = notification.value.type
      subscriber_email_addresses = var.emails
    }
  }
}
