"""Features of a shop of its own, as ``TRAINING_ASSETS_FEATURES`` names them in tests."""

from training_assets.features import Feature, Formula, Given, Ratio, count, last

USER_FEATURES = (
    Feature(
        "cart_likes_2d",
        "long",
        "Carts and likes of the last two days.",
        count("add_to_cart", "like", window=2),
        empty=0,
        low=0,
    ),
    Feature(
        "dear_share",
        "double",
        "Purchases at 10 or more / purchases.",
        Ratio(
            count("order", where="is_purchase and unit_price >= 10"),
            count("order", where="is_purchase"),
        ),
        low=0,
        high=1,
    ),
)
ITEM_FEATURES = (
    Feature(
        "days_unsold",
        "long",
        "Days since the last purchase.",
        Formula(
            "dt - last day of a purchase",
            (last("day", "order", where="is_purchase"), Given("row", "dt")),
            lambda day, dt: dt - day,
        ),
    ),
)
